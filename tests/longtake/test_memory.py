"""Sizes as text, and how much memory is free."""

import pytest

from longtake import memory
from longtake.errors import LongtakeError
from longtake.memory import free_memory, memory_for, parse_size, shown_size


@pytest.mark.parametrize(
    "text, found",
    [
        ("2GB", 2_000_000_000),
        ("2 gib", 2 << 30),
        ("0.5MB", 500_000),
        ("0", 0),
        ("17", 17),
        ("1kb", 1000),
        ("1TB", 10**12),
    ],
)
def test_sizes(text, found):
    assert parse_size(text) == found


@pytest.mark.parametrize("text", ["", "GB", "2 gigs", "-1GB", "1e9", "2GBB"])
def test_what_is_no_size(text):
    with pytest.raises(LongtakeError, match="such as 2GB"):
        parse_size(text)


def test_memory_for_data(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 1000)
    assert [memory_for(asked) for asked in (None, "2GB", 17, 0)] == [500, 2_000_000_000, 17, 0]
    with pytest.raises(LongtakeError, match="got '-17'"):
        memory_for(-17)


def test_shown_sizes():
    assert [shown_size(size) for size in (1_500_000_000, 12_345_678)] == ["1.5 GB", "12.3 MB"]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Files of a machine with 1000 kB available; called with the lines of /proc/self/cgroup and the files of groups."""
    meminfo, own, groups = tmp_path / "meminfo", tmp_path / "cgroup", tmp_path / "groups"
    meminfo.write_text("MemTotal:  4000 kB\nMemAvailable:   1000 kB\nHugePages_Total:    0\n")
    monkeypatch.setattr(memory, "CGROUPS", groups)

    def free(lines, files):
        own.write_text(lines)
        for name, text in files.items():
            (groups / name).parent.mkdir(parents=True, exist_ok=True)
            (groups / name).write_text(text)
        return free_memory(meminfo, own)

    return free


def test_a_machine_without_limits(machine):
    assert machine("0::/user\n", {"user/memory.max": "max\n", "user/memory.current": "5\n"}) == 1_024_000


def test_the_limit_of_a_group_around_ours(machine):
    files = {
        "job/memory.max": "500000",
        "job/memory.current": "200000",
        "job/memory.stat": "anon 1\ninactive_file 50000\n",
    }
    files |= {"job/step/memory.max": "max", "job/step/memory.current": "100"}
    assert machine("0::/job/step\n", files) == 350_000


def test_a_container_that_does_not_see_its_path(machine):
    assert machine("0::/docker/0123\n", {"memory.max": "300000", "memory.current": "100000"}) == 200_000


def test_groups_of_the_first_version(machine):
    files = {"memory/job/memory.limit_in_bytes": "400000", "memory/job/memory.usage_in_bytes": "500000"}
    assert machine("5:cpu,cpuacct:/\n4:memory:/job\n0::/\n", files) == 0


def test_this_machine():
    assert free_memory() > 1 << 20
