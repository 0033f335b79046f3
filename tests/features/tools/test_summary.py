"""The lines of `features info`."""

from longtake.features.store import open_store
from longtake.features.tools.inspect import describe
from longtake.features.tools.summary import RANDOM_NOTE, first, size, summary
from tests.features import raw
from tests.features.fakes import header, make_store
from tests.features.raw import IDS


def lines(path, **changes):
    with open_store(make_store(path, {"a": 2, "b": 0}, head=header(**changes))) as store:
        return "\n".join(summary(describe(store)))


def test_lines_of_a_store(tmp_path):
    said = lines(tmp_path / "s.h5")
    assert "2 (train 2)" in said and "1 videos, 2 clips x 3 float32" in said and RANDOM_NOTE not in said
    assert "clips of 16 every 16 at every frame, tail pad" in said and "failed: b (decode): bröken" in said


def test_what_is_not_known_is_called_unknown(tmp_path):
    said = lines(tmp_path / "s.h5", origin="imported: gdlt", clip_length=None, tail=None, weights_sha256=None)
    assert "clips of unknown every 16 at an unknown rate, tail unknown" in said and "sha256 unknown" in said
    assert "at 25 frames per second" in lines(tmp_path / "t.h5", fps=25.0)
    assert RANDOM_NOTE in lines(tmp_path / "u.h5", weights_random=True)


def test_long_lists_are_cut():
    assert first(list("abc")) == "a, b, c" and first(list("abcdefghijk")) == "a, b, c, d, e, f, g, h, i, j, ..."
    assert first(list("abcdefghijk"), show_all=True).endswith("j, k")
    assert size(None) == "" and size(1_500_000) == " (1.5 MB)"


def test_damaged_videos_are_listed(tmp_path):
    raw.write(tmp_path / "s.h5", raw.example())
    with open_store(tmp_path / "s.h5") as store:
        facts = describe(store)
    assert facts["streams"][0]["damaged"] == {IDS[1]: 3}
    assert f"damaged pictures in {IDS[1]} (3)" in "\n".join(summary(facts))
