"""Finding the table and the files of a dataset."""

import csv
import json
import os
import shutil
import subprocess
import sys
import unicodedata

from click.testing import CliRunner

from longtake.extract.cli import main
from longtake.extract.find_videos import videos_in
from longtake.extract.plan import plan
from longtake.features.store import open_store
from longtake.features.tools.inspect import describe
from tests.extract.runs import ROOT, extract, make_dataset, refused


def test_a_name_that_the_disk_spells_otherwise(tmp_path, numbers_backbone):
    """macOS stores accents as characters of their own."""
    make_dataset(tmp_path, [8])
    (tmp_path / "videos" / "v0.mp4").rename(tmp_path / "videos" / unicodedata.normalize("NFD", "été.mp4"))
    (tmp_path / "small.csv").write_text(f"video_id\n{unicodedata.normalize('NFC', 'été')}\n")
    assert "1 new" in extract(tmp_path).output


def test_a_locale_that_cannot_spell_a_name(tmp_path):
    (tmp_path / "été.mp4").write_bytes(b"")
    code = "import pathlib, longtake.extract.folders as f; print(ascii(f.index_by_stem(pathlib.Path('.'))))"
    for locale in ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"LC_ALL": "C.UTF-8"}):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **locale}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, env=environment, check=True
        )
        assert done.stdout.startswith(b"{'\\xe9t\\xe9': ["), done.stdout


def test_two_files_of_one_id(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [8, 8])
    (tmp_path / "videos" / "v0.mkv").write_bytes((tmp_path / "videos" / "v0.mp4").read_bytes())
    done = extract(tmp_path, status=1)
    assert "missing: 1 of 2 videos: v0 (" in done.output and "1 new" in done.output
    assert "holds v0.mkv, v0.mp4: name one of them in the manifest's column path" in done.output
    (tmp_path / "small.csv").write_text("video_id,path\nv0,v0.mp4\nv1,\n")
    assert "1 new, 1 were there, 0 failed" in extract(tmp_path).output


def test_files_of_the_same_name_that_are_no_videos(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [8, 8])
    for name in ("v0.txt", "v0.json", "v0.JPG", "v0.srt", "v1.vtt"):
        (tmp_path / "videos" / name).write_text("no video")
    assert "2 new" in extract(tmp_path).output
    (tmp_path / "videos" / "v1.mp4").unlink()
    done = extract(tmp_path, out="other.h5", status=1)
    assert "holds v1.vtt, which are not videos by their ending" in done.output and "1 new" in done.output


def test_the_sound_of_a_video_next_to_it_is_no_second_video(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [30])
    videos = tmp_path / "videos"
    for name in ("v0.wav", "v0.M4A", "alone.wav"):
        (videos / name).write_bytes(b"RIFF")
    extract(tmp_path)
    assert [path.name for path in videos_in(videos)] == ["alone.wav", "v0.mp4"]


def test_a_pipe_in_place_of_a_video_is_refused_at_once(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [8, 8])
    os.mkfifo(tmp_path / "videos" / "pipe.mp4")
    (tmp_path / "videos" / "folder.mp4").mkdir()
    (tmp_path / "small.csv").write_text("video_id,path\nv0,pipe.mp4\nv1,v1.mp4\nv2,folder.mp4\n")
    done = extract(tmp_path, status=1)
    assert "not a regular file but a named pipe" in done.output and "1 new" in done.output
    assert "a folder, not a file" in done.output
    assert "not a regular file but a named pipe" in refused("probe", tmp_path / "videos" / "pipe.mp4")


def test_a_dataset_without_its_videos_says_what_to_put_where(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["run", "--dataset", "rg", "--weights", "random"])
    assert done.exit_code == 2
    assert "no folder videos/rg" in done.output and "<video_id>.mp4" in done.output


def test_neither_dataset_nor_manifest():
    done = CliRunner().invoke(main, ["run"])
    assert done.exit_code == 2 and "--manifest" in done.output


def test_missing_videos_say_what_to_put_where(tmp_path):
    output = refused("run", "--dataset", "rg", "--videos", tmp_path / "rg")
    assert str(tmp_path / "rg") in output and "video" in output


def test_all_faults_of_a_manifest_at_once(tmp_path):
    (tmp_path / "m.csv").write_text("video_id,split,score_total\na,train,1\na,test,2\nb,train,3\n../c,train,x\n")
    output = refused("run", "--manifest", tmp_path / "m.csv", "--videos", tmp_path)
    assert all(f"line {number}" in output for number in (3, 5))


def test_ids_with_the_ending_of_their_file(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [8, 8])
    (tmp_path / "small.csv").write_text("video_id\nv0.mp4\nv1\n")
    (tmp_path / "videos" / "v0.mp4.md5").write_text("a checksum")
    assert "2 new" in extract(tmp_path).output
    assert "holds no file v1.avi" in refused_row(tmp_path)


def refused_row(tmp_path):
    (tmp_path / "small.csv").write_text("video_id\nv0\nv1.avi\n")
    return extract(tmp_path, out="other.h5", status=1).output


def test_missing_videos_are_counted_and_no_rows_of_the_store(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [8])
    names = [f"gone{number:02}" for number in range(12)]
    (tmp_path / "small.csv").write_text("video_id,path\nv0,\n" + "".join(f"{name},a/{name}.mp4\n" for name in names))
    done = extract(tmp_path, "--missing", str(tmp_path / "new" / "missing.csv"), status=1)
    assert "missing: 12 of 13 videos: gone00, gone01," in done.stderr and "gone10" not in done.stderr
    assert "1 new, 0 were there, 0 failed, 12 missing" in done.stdout
    with (tmp_path / "new" / "missing.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["video_id"] for row in rows] == names and rows[0]["path"] == "a/gone00.mp4"
    assert "no file" in rows[0]["reason"]
    with open_store(tmp_path / "small.h5") as store:
        assert [record.video_id for record in store.stream().records] == ["v0"]
        assert describe(store)["streams"][0]["missing"] == names
    before = (tmp_path / "small.h5").stat().st_mtime_ns
    again = json.loads(extract(tmp_path, "--json", status=1).stdout)
    assert [one["video_id"] for one in again["missing"]] == names and again["failed"] == []
    assert (tmp_path / "small.h5").stat().st_mtime_ns == before, "nothing new, nothing written"
    (tmp_path / "videos" / "a").mkdir()
    (tmp_path / "videos" / "a" / "gone03.mp4").write_bytes((tmp_path / "videos" / "v0.mp4").read_bytes())
    assert "1 new, 1 were there, 0 failed, 11 missing" in extract(tmp_path, status=1).stdout


def test_all_videos_may_be_required(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [8, 8])
    whole = (tmp_path / "videos" / "v1.mp4").read_bytes()
    (tmp_path / "videos" / "v1.mp4").unlink()
    done = extract(tmp_path, "--require-all", "--missing", str(tmp_path / "missing.csv"), status=2)
    assert "1 of 2 videos are missing" in done.output and "v1: " in done.output
    assert not (tmp_path / "small.h5").exists() and "v1" in (tmp_path / "missing.csv").read_text()
    (tmp_path / "videos" / "v1.mp4").write_bytes(whole)
    extract(tmp_path, "--require-all", "--missing", str(tmp_path / "missing.csv"))
    assert (tmp_path / "missing.csv").read_text().split() == ["video_id,path,reason"]
    # What has its features needs no file.
    (tmp_path / "videos" / "v1.mp4").unlink()
    assert "0 new, 2 were there, 0 failed\n" in extract(tmp_path, "--require-all").stdout


def test_a_path_that_no_file_system_takes_is_a_fault_of_its_video(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [8])
    (tmp_path / "small.csv").write_text(f"video_id,path\nlong,{300 * 'x'}.mp4\nv0,v0.mp4\n")
    assert "1 new, 0 were there, 1 failed" in extract(tmp_path, status=1).stdout


def test_the_table_of_missing_videos_replaces_no_other_file(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [8, 8])
    manifest = tmp_path / "small.csv"
    before = manifest.read_text()
    done = extract(tmp_path, "--missing", str(manifest), status=2)
    assert "small.csv: the file there is not a table of missing videos" in done.output
    shutil.rmtree(tmp_path / "videos")
    (tmp_path / "videos").mkdir()
    extract(tmp_path, "--missing", str(manifest), status=2)
    assert manifest.read_text() == before


def test_features_of_other_seconds_do_not_stay_for_a_missing_video(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [32, 8])
    extract(tmp_path)
    (tmp_path / "videos" / "v0.mp4").unlink()
    (tmp_path / "small.csv").write_text("video_id,start_seconds\nv0,0.5\nv1,\n")
    for words in ("failed: v0 (find)", "missing: 1 of 2 videos: v0"):
        assert words in extract(tmp_path, status=1).stderr
    with open_store(tmp_path / "small.h5") as store:
        assert [record.status for record in store.stream().records] == ["failed", "ok"]


def test_a_failure_row_of_an_older_store_for_a_missing_video_stays(tmp_path, numbers_backbone, monkeypatch):
    make_dataset(tmp_path, [8, 8])
    (tmp_path / "videos" / "v1.mp4").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(plan, "find_missing", lambda *arguments: [])
        assert "failed: v1 (find)" in extract(tmp_path, status=1).output
    assert "0 failed, 1 missing" in extract(tmp_path, status=1).output
    with open_store(tmp_path / "small.h5") as store:
        assert [record.error_stage for record in store.stream().records] == ["", "find"]


def test_folders_of_pictures_in_place_of_videos(tmp_path, numbers_backbone):
    make_dataset(tmp_path, [])
    (tmp_path / "small.csv").write_text("video_id\nv1\nv2\n")
    (tmp_path / "videos" / "v1").mkdir()
    assert (
        "v1 is a folder there, and a video is one file. Of pictures, ffmpeg makes one"
        in extract(tmp_path, status=2).output
    )
