"""The likeliest mistakes of a new user, and the page that shows their messages. Run as a script, it prints docs/errors.md."""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from click.testing import CliRunner

import longtake.extract.cli
import longtake.features.cli
import longtake.train.cli
from longtake.features.store import write_store
from longtake.manifests.card import find_card
from tests.extract.media import write_sound, write_video
from tests.features.fakes import header, labels, plan
from tests.features.fakes import video as clips
from tests.train.planted import planted_store

COMMANDS = {
    "extract": longtake.extract.cli.main,
    "features": longtake.features.cli.main,
    "train": longtake.train.cli.main,
}

MISTAKES: dict[str, tuple[str, ...]] = {
    "Which videos?": (
        "extract run",
        "extract run --dataset rgg",
        "extract run --dataset rg",
        "extract run --dataset rg --videos elsewhere",
        "extract run --manifest missing.csv --videos videos",
        "extract run --manifest faulty.csv --videos videos",
        "extract run --manifest mine.csv --videos videos --only a1",
        "extract run --manifest three.csv --videos videos --weights random --require-all",
    ),
    "Which features?": (
        "extract run --manifest mine.csv --videos videos --backbone i3",
        "extract run --manifest mine.csv --videos videos --weights random --tail cut",
        "extract run --manifest mine.csv --videos videos --weights random --fps 0",
        "extract run --manifest mine.csv --videos videos --weights random --decoder ffmpeg",
        "extract run --manifest mine.csv --videos videos --weights random --stall-timeout never",
        "extract run --manifest mine.csv --videos videos --weights random --backbone c3d --clip-length 32",
        "extract run --manifest mine.csv --videos videos --weights random --runtime onnx",
        "extract run --manifest mine.csv --videos videos --weights random --runtime openvino --compile",
        "extract run --manifest mine.csv --videos videos --recipe gdlt",
        "extract run --manifest mine.csv --videos videos --weights random --out features/mine.npy",
        "extract run --manifest mine.csv --videos videos --weights no.pth",
        "extract run --manifest mine.csv --videos videos --weights notes.txt",
        "extract run --manifest mine.csv --videos videos --backbone vifi-clip",
            "extract run --manifest mine.csv --videos videos --weights random --shard 9/8",
            "extract run --manifest mine.csv --videos videos --weights random --memory much",
    ),
    "Which network of a library?": (
        "extract run --manifest mine.csv --videos videos --backbone tim/resnet18",
        "extract run --manifest mine.csv --videos videos --backbone timm/",
        "extract run --manifest mine.csv --videos videos --backbone timm/resnt18",
        "extract run --manifest mine.csv --videos videos --backbone timm/resnet18.a9_in1k",
        "extract run --manifest mine.csv --videos videos --backbone torchvision/r3d18",
        "extract run --manifest mine.csv --videos videos --backbone torchvision/fasterrcnn_resnet50_fpn",
        "extract run --manifest mine.csv --videos videos --backbone open_clip/ViT-B-33",
        "extract run --manifest mine.csv --videos videos --backbone open_clip/ViT-B-32:openia",
        "extract run --manifest mine.csv --videos videos --backbone hf/videos",
        "extract run --manifest mine.csv --videos videos --backbone hf/text",
    ),
    "One of several": (
        "extract run --manifest mine.csv --videos videos --backbone i3d,clip --weights random",
        "train heads --features store.h5 --head gdlt,gslm",
        "train sweep --features store.h5 --head gdlt,gslm --out sweep",
        "train heads --features store.h5 --head ridge --score score_total",
        "extract run --manifest mine.csv --videos videos --weights random --only a.mp4",
        "extract run --manifest mine.csv --dataset rg --videos videos",
        "extract run --manifest mine.csv --videos videos --weights random --resume",
        "extract run --manifest mine.csv --videos videos --weights random --device gpu",
        "train list head",
        "train --verison",
    ),
    "A file where a folder is meant, or the other way": (
        "extract run --manifest videos/a.mp4 --videos videos",
        "extract run --manifest notes.txt --videos videos",
        "extract run --manifest mine.csv --videos videos/a.mp4 --weights random",
        "extract run --manifest mine.csv --videos empty --weights random",
        "extract run --manifest mine.csv --videos videos --weights random --out videos",
        "extract probe videos",
        "extract probe notes.txt",
        "extract probe http://127.0.0.1:9/a.mp4",
        "features export store.h5 notes.txt",
        "features convert store.h5 store.h5",
        "train heads --features arrays/x.npy",
        "train heads --features store.h5 --head ridge --out notes.txt",
        "train report store.h5",
        "train report runs/x --videos nope --features store.h5",
        "train predict --run runs/x --video videos/a.mp4 --overlay out.txt",
        "train list runs empty",
        "train list heads store.h5",
    ),
    "Stores elsewhere, and stores of something else": (
        "features info http://127.0.0.1:9/s.h5",
        "features verify store.h5 --dataset rg",
        "features relabel store.h5",
        "features import arrays --layout npy --dataset fisv --backbone vst --out new.h5",
        "train heads --features store.h5 --backbone i3d",
        "train bench fiss --features store.h5",
        "train bench fisv --features store.h5 --out bench",
    ),
    "Figures": (
        "train figure runs/x --out figure.jpg",
        "train figure runs/x --kind piechart --out figure.pdf",
        "train figure runs/x --kind attention --out figure.pdf",
        "train figure runs/x --video a1 --out figure.pdf",
        "train figure runs/x --out figure.pdf",
    ),
    "Files that are not what they seem": (
        "extract probe videos/sound.mp4",
        "extract probe videos/empty.mp4",
        "features info videos/a.mp4",
        "features info nowhere.h5",
        "features ls store.h5 --backbone vst",
        "features import --layout gdlt --dataset fisv --backbone vst --out new.h5 empty",
        "features import arrays --layout files --backbone i3d --out new.h5",
        "features import arrays --layout files --backbone i3d --manifest mine.csv --features rgb --out new.h5",
        "features import arrays --layout files --backbone i3d --manifest mine.csv --axes time,feature --out new.h5",
        "features compare store.h5 arrays",
        "features merge store.h5 other.h5 --out merged.h5",
    ),
    "Sharing": (
        "features info rg@2026-11-29",
        "features pull rg",
        "features pull RG --from remote",
        "features versions rg --from remote",
        "features push store.h5 https://example.org/stores",
        "features push store.h5 hf://lab/stores",
        "features push forbidden.h5 remote --name mine",
        "features cite store.h5",
    ),
    "Training": (
        "train heads --features store.h5 --head gdtl",
        "train heads --features store.h5 --head gdlt --category Bal",
        "train heads --features store.h5 --head gdlt --score tes",
        "train heads --features store.h5 --head gdlt --set learning_rate=0.1",
        "train heads --features store.h5 --head gdlt --set dropout=half",
        "train heads --features store.h5 --head gdlt --set optimizer=lion",
        "train heads --features store.h5 --head pgt",
        "train heads --features store.h5 --head avcf",
        "train heads --features store.h5 --head gdlt --folds 50",
        "train heads --features store.h5 --head gdlt --folds leave-one-out --group skater",
        "train heads --features store.h5 --head gdlt --folds groups",
        "train heads --features store.h5 --head gdlt --folds 5 --group skater",
        "train heads --features store.h5 --head gdlt --set epochs",
        "train heads --features store.h5 --head gdlt --preset best",
        "train heads --features unlabelled.h5 --head gdlt",
        "train heads --features store.h5 --head gdlt --resume",
        "train heads --features store.h5 --features store.h5",
        "train evaluate --run runs/nothing --features store.h5",
        "train predict --run runs/nothing --video videos",
        "train predict --run runs/nothing --features store.h5 --html page.html",
        "train predict --run runs/nothing --video videos --compare videos/a.mp4",
        "train compare runs/nothing",
    ),
    "First steps": (
        "extract mine.csv videos",
        "extract run mine.csv videos",
        "extract --manifest mine.csv --videos videos",
        "extract run --manifest header.csv --videos videos --weights random",
        "extract run --manifest headless.csv --videos videos --weights random",
        "extract run --manifest marks.csv --videos videos --weights random",
        "extract run --manifest mine.csv --videos videos --weights random --fps 1,5",
        "extract run --manifest mine.csv --videos videos --weights random --clip-length 0",
        "extract run --manifest mine.csv --videos videos --weights random --limit ten",
        "extract run --manifest mine.csv --videos videos --backbone I3D",
        "extract run --manifest mine.csv --videos videos/*.mov --weights random",
        "extract plan --manifest mine.csv",
        "extract demo videos --num-videos 0",
        "extract demo notes.txt",
        "extract text --manifest mine.csv --out store.h5",
        "features info",
        "features info *.h5",
        "features info mine.csv",
        "features info runs/mine",
        "features ls store.h5 --where score>5",
        "features ls store.h5 --where colour=red",
        "features convert store.h5 copy",
        "features relabel store.h5 --manifest mine.csv",
        "features push store.h5",
    ),
    "First training": (
        "train store.h5",
        "train heads store.h5",
        "train heads --features mine.csv",
        "train heads --features videos",
        "train heads --features runs/mine",
        "train heads --features store.h5 --head gdlt --epochs 0",
        "train heads --features store.h5 --head gdlt --seeds 0",
        "train heads --features store.h5 --head gdlt --set lr=fast",
        "train heads --features store.h5 --head gdlt --set lr=-1",
        "train heads --features store.h5 --head gdlt --out runs/mine",
        "train heads --features store.h5 --head ridge,kernel --out new",
        "train sweep --features store.h5 --head ridge",
        "train compare runs/mine --test",
        "train report",
        "train report runs/mine --out report.pdf",
        "train report runs/mine --show a",
        "train report runs/mine --show a --features store.h5",
        "train figure runs/mine --kind embedding --features store.h5 --out figure.png",
        "train figure runs/mine --kind curves --out figure.png",
        "train figure runs/mine --category Clubs --out figure.png",
        "train view runs/mine --port one",
    ),
    "First scores": (
        "train predict --video videos/a.mp4",
        "train predict --run runs/mine",
        "train predict --run store.h5 --video videos/a.mp4",
        "train predict --run runs/mine --video nowhere.mp4 --category Ball",
        "train predict --run runs/mine --video https://example.org/watch --category Ball",
        "train predict --run runs/mine --video videos/a.mp4",
        "train predict --run runs/mine --video videos/a.mp4 --category ball",
        "train predict --run runs/mine --video videos/a.mp4 --category Ball --html page",
        "train predict --run runs/mine --video videos/a.mp4 --category Ball --html videos/a.mp4",
        "train predict --run runs/mine --video videos/a.mp4 --category Ball --interval 90",
        "train predict --run runs/mine --features store.h5 --video videos/a.mp4",
        "train predict --run runs/mine --features store.h5 --only a",
        "train predict --run runs/mine --features store.h5 --category Clubs",
        "train predict --run runs/mine --features mine.csv",
        "train evaluate --run runs/mine --features store.h5 --split validation",
    ),
    "Which pages?": (
        "train view nowhere",
        "train view empty --export site",
        "train view store.h5 --export videos",
        "train view store.h5 --export site.html --videos videos",
        "train view store.h5 --host 0.0.0.0",
        "train view store.h5 --port 99999",
    ),
}  # fmt: skip


def set_up(folder: Path) -> None:
    videos = folder / "videos"
    videos.mkdir()
    write_video(videos / "a.mp4", 10)
    write_sound(videos / "sound.mp4")
    (videos / "empty.mp4").write_bytes(b"")
    (folder / "empty").mkdir()
    (folder / "arrays").mkdir()
    np.save(folder / "arrays" / "x.npy", np.zeros((3, 32), np.float32))
    (folder / "mine.csv").write_text("video_id,split,score_total\na,train,3\n")
    (folder / "three.csv").write_text("video_id,path\na,\nb,\nc,day1/c.mp4\n")
    (folder / "faulty.csv").write_text("video_id,split,score_total\na,train,3\na,test,4\n../b,train,5\nc,train,many\n")
    (folder / "header.csv").write_text("video_id,split,score_total\n")
    (folder / "headless.csv").write_text("a,train,3\nb,test,4\n")
    (folder / "marks.csv").write_text("video_id,split,score_total\na,train,7.5/10\nb,test,n/a\nc,dev,good\n")
    (folder / "text").mkdir()
    (folder / "text" / "config.json").write_text(
        '{"model_type": "bert", "architectures": ["BertModel"], "num_hidden_layers": 1}'
    )
    (folder / "notes.txt").write_text("Remember the weights\n")
    planted_store(folder / "store.h5", num_train=8, num_test=4, categories=("Ball", "Hoop"))
    run = (
        "heads",
        "--features",
        folder / "store.h5",
        "--head",
        "ridge",
        "--no-intervals",
        "--quiet",
        "--out",
        folder / "runs" / "mine",
    )
    CliRunner().invoke(longtake.train.cli.main, [*map(str, run)], catch_exceptions=False)
    planted_store(folder / "other.h5", num_train=1, num_test=1, categories=("Ball",), seed=1)
    planted_store(folder / "unlabelled.h5", num_train=8, num_test=4, scores=())
    card = replace(
        find_card("rg"),
        forbids_sharing="Section 3: what is made of the videos stays in the laboratory that asked for them.",
    )
    write_store(
        folder / "forbidden.h5",
        dataset="rg",
        card=card,
        labels=labels(["a"]),
        streams=[plan(header(), [clips("a", 3)])],
    )


def provoke(command: str) -> tuple[int, str]:
    """Exit status and all that is printed."""
    name, *arguments = shlex.split(command)
    own = {"LONGTAKE_LIBRARY": "library", "LONGTAKE_REMOTE": None, "LONGTAKE_OFFLINE": None}
    done = CliRunner().invoke(COMMANDS[name], arguments, prog_name=name, terminal_width=1000, env=own)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def page() -> str:
    lines = [
        "# What does this error mean?",
        "",
        "The likeliest mistakes, and what they get. Nothing is lost by any of them; the exit status is 2 where the call was wrong.",
    ]
    with tempfile.TemporaryDirectory() as folder:
        set_up(Path(folder))
        with contextlib.chdir(folder):
            for title, commands in MISTAKES.items():
                lines += ["", f"## {title}"]
                for command in commands:
                    _, output = provoke(command)
                    shown = "\n".join(
                        line.rstrip() for line in output.replace(str(folder), "HERE").strip().splitlines()
                    )
                    lines += ["", f"`{command}`", "", "<!-- runs: never, this is what the call above prints -->", "```text",
                              shown, "```"]  # fmt: skip
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    os.environ["LONGTAKE_CACHE"] = tempfile.mkdtemp()
    print(page(), end="")
