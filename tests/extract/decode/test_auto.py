"""`auto` chooses a decoder for each file and records it."""

from click.testing import CliRunner

import longtake.features.cli
from longtake.extract.cli import main
from longtake.extract.decode import TABLE, get_decoder
from longtake.features.store import open_store
from tests.extract.media import write_video


def test_the_choice_is_made_per_file_and_recorded(tmp_path, monkeypatch, numbers_backbone):
    monkeypatch.setitem(TABLE, "nvdec", "no_such_package.module:Decoder")
    pyav = get_decoder("pyav").description()
    assert get_decoder("auto").description() == pyav, "nothing to choose, nothing to record"
    monkeypatch.setitem(TABLE, "nvdec", "tests.extract.hanging:OnlyMP4")
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", 20)
    write_video(tmp_path / "videos" / "b.ts", 20)
    (tmp_path / "m.csv").write_text("video_id\na\nb\n")
    call = ["run", "--manifest", str(tmp_path / "m.csv"), "--videos", str(tmp_path / "videos"), "--weights", "random",
            "--backbone", numbers_backbone, "--decoder", "auto", "--out", str(tmp_path / "m.h5")]  # fmt: skip
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 0, done.output
    with open_store(tmp_path / "m.h5") as store:
        assert store.stream().header.decoder == f"auto: only-mp4 1; else {pyav}"
        assert {record.video_id: record.decoder for record in store.stream().records} == {"a": "only-mp4", "b": "pyav"}
    shown = CliRunner().invoke(longtake.features.cli.main, ["info", str(tmp_path / "m.h5")]).output
    assert "videos read: 1 by only-mp4, 1 by pyav" in shown
