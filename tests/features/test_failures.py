"""Failures in lines."""

from longtake.features.failures import Failure, failure_lines, lines_by_kind


def failures(*kinds):
    return [Failure(f"v{number}", *kind, "a reason") for number, kind in enumerate(kinds)]


def test_few_are_all_listed():
    assert list(failure_lines([])) == []
    (line,) = failure_lines(failures(("decode", "VideoStalled")))
    assert line == "failed: v0 (decode): a reason"
    lines = list(failure_lines(failures(*[("find", "VideoMissing")] * 10)))
    assert len(lines) == 11 and lines[0] == "failed: 10 videos: find VideoMissing 10"


def test_many_are_counted_by_kind_and_each_kind_has_an_example():
    found = failures(*[("decode", "VideoStalled")] * 30, ("sound", "SoundMissing"), ("", ""))
    lines = list(failure_lines(found))
    assert lines[0] == "failed: 32 videos: decode VideoStalled 30, sound SoundMissing 1, unknown 1"
    assert [line.split()[1] for line in lines[1:-1]] == [*(f"v{number}" for number in range(8)), "v30", "v31"]
    assert lines[-1] == "failed: and 22 more; --all lists them"
    assert len(list(failure_lines(found, show_all=True))) == 33


def test_lines_that_are_too_many():
    few, many = [f"few{number}" for number in range(10)], [f"many{number}" for number in range(12)]
    assert list(lines_by_kind({"few": few, "none": []}, "faults")) == few
    assert list(lines_by_kind({}, "faults")) == []
    found = list(lines_by_kind({"few": few, "many": many}, "faults"))
    assert found == ["faults: many 12, few 10", *few, *many[:10], "and 2 more of many; --all lists them"]
    assert list(lines_by_kind({"few": few, "many": many}, "faults", True)) == ["faults: many 12, few 10", *few, *many]
