"""Kills, two writers, readers during writing, full and read-only disks: nothing is lost, and readers see whole stores only."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from longtake.errors import LongtakeWarning
from longtake.features import parts
from longtake.features.errors import FeaturesError
from longtake.features.finished import read_finished
from longtake.features.parts import parts_folder
from longtake.features.segments.reader import read_segment
from longtake.features.store import open_store, store_exists
from longtake.features.tools.convert import convert
from longtake.features.tools.inspect import verify
from tests.features.fakes import header, labels, list_parts, make_store, run, video
from tests.features.test_parts import IDS, part, publish

ROOT = Path(__file__).parents[2]
NAMES = ["s.h5", "with @ and .h5. in it, ünï.hdf5", "s.zarr"]

PACKER = """
import sys
from pathlib import Path
from tests.features.test_parts import part, publish, IDS
store = Path(sys.argv[1])
for round in range(1000):
    part(store, IDS[round % 4], 400, seed=round)
    publish(store)
    print("published", flush=True)
"""
CONVERTER = """
import os, signal, sys
from longtake.features.formats import zarr3
from longtake.features.tools.convert import convert
zarr3.GRACE_SECONDS = 0
when, *arguments = sys.argv[1:]
if when == "written":
    # In one write: several threads may come here.
    os.fsync = lambda descriptor: (os.write(1, b"written\\n"), signal.pause())
else:
    print("ready", flush=True)
convert(*arguments)
"""


def python(code, *arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, env=environment, **options)


def leftovers(folder):
    """Files that a killed writer leaves and the next writer removes."""
    found = [p.name for p in folder.iterdir() if p.name.endswith((".tmp", ".partial"))]
    for store in folder.glob("*.zarr"):
        found += [p.name for p in store.iterdir() if p.name.endswith(".partial")]
        found += sorted(p.name for p in store.iterdir() if p.is_dir())[1:]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_kill_nine_in_parts_and_in_pack(tmp_path, name, monkeypatch):
    monkeypatch.setattr("longtake.features.formats.zarr3.GRACE_SECONDS", 0)
    store = tmp_path / name
    rng = random.Random(0)
    held = set()
    for _ in range(3):
        packer = python(PACKER, store, stdout=subprocess.PIPE)
        packer.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.4))
        packer.send_signal(signal.SIGKILL)
        packer.wait()
        with open_store(store) as opened:
            opened.stream().read_all()
        now = set(read_finished(store, "d", None).records[header().recipe_id])
        assert now and held <= now
        held = now
    packed = publish(store)
    # No part is left if the last kill came after everything was published.
    assert packed.published or not packed.num_videos
    with open_store(store) as opened:
        assert set(opened.stream().videos.video_ids) == held
        assert verify(opened) == []
    for video_id in IDS:
        part(store, video_id, 3)
    publish(store)
    with open_store(store) as opened:
        assert set(opened.stream().videos.video_ids) == set(IDS)
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_kill_nine_in_convert(tmp_path, suffix, monkeypatch):
    """First after writing and before publishing, then at random moments."""
    monkeypatch.setattr("longtake.features.formats.zarr3.GRACE_SECONDS", 0)
    source = make_store(tmp_path / "source.h5", {f"v{n}": 300 for n in range(60)}, head=header(dim=64))
    target = tmp_path / f"target{suffix}"
    rng = random.Random(1)

    def kill(when, seconds):
        converter = python(CONVERTER, when, source, target, stdout=subprocess.PIPE, text=True)
        assert converter.stdout.readline() == f"{when}\n"
        time.sleep(seconds)
        converter.kill()
        converter.wait()

    kill("written", 0)
    assert not store_exists(target) and [path for path in tmp_path.rglob("*") if path != source]
    for _ in range(4):
        kill("ready", rng.uniform(0.0, 0.25))
        if store_exists(target):
            break
    else:
        convert(source, target)
    with open_store(source) as one, open_store(target) as other:
        assert one.stream().videos.checksums == other.stream().videos.checksums
        assert verify(other) == []
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_what_is_published_is_on_the_disk_before(tmp_path, monkeypatch, suffix):
    """The content is synced, then renamed, then the folder with the new name is synced."""
    path, events = tmp_path / f"s{suffix}", []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(descriptor):
        events.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def watched_replace(source, target):
        events.append(Path(target))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    make_store(path, {"a": 40})
    named = path / "zarr.json" if suffix == ".zarr" else path
    moment = events.index(named)
    content = [path]
    if suffix == ".zarr":
        (generation,) = [entry for entry in path.iterdir() if entry.is_dir()]
        content = [generation, *generation.rglob("*")]
        assert len(content) > 20
    assert {entry.stat().st_ino for entry in content} <= set(events[:moment])
    assert named.stat().st_ino in events[:moment], "the file that names the content, too"
    assert events[moment + 1 :] == [named.parent.stat().st_ino]


WRITER = """
import sys
from pathlib import Path
from tests.features.test_parts import part, publish
store, names = Path(sys.argv[1]), sys.argv[2].split(",")
for name in names:
    part(store, name, 50)
    publish(store)
"""


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_two_writers_and_a_reader(tmp_path, suffix):
    """Both write parts and pack; a reader opens the store all the time and sees whole stores that only grow."""
    store = tmp_path / f"s{suffix}"
    part(store, IDS[0], 50)
    publish(store)
    writers = [python(WRITER, store, ",".join(IDS[i::2] * 4)) for i in range(2)]
    seen = 0
    num_reads = 0
    while any(writer.poll() is None for writer in writers):
        with open_store(store) as opened:
            features = opened.stream().read_all()
            assert len(features) == 50 * len(opened.stream().videos) and np.isfinite(features).all()
            assert seen <= len(opened.stream().videos)
            seen = len(opened.stream().videos)
            num_reads += 1
    assert [writer.returncode for writer in writers] == [0, 0] and num_reads > 3
    publish(store)
    assert not list_parts(store)
    with open_store(store) as opened:
        assert set(opened.stream().videos.video_ids) == set(IDS) and verify(opened) == []


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_a_reader_keeps_what_it_opened(tmp_path, suffix):
    store = tmp_path / f"s{suffix}"
    part(store, "a", 500)
    publish(store)
    with open_store(store) as opened:
        before = opened.stream().read_all()
        part(store, "b", 500)
        publish(store)
        assert opened.stream().videos.video_ids == ("a",)
        np.testing.assert_array_equal(opened.stream().read("a").features, before)


@contextmanager
def small_disk(folder, size="2m"):
    """A separate file system, which only root can mount."""
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if made.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


COMMAND = """
import sys
from longtake.features.cli import main
main(sys.argv[1:])
"""


def command(*arguments):
    done = python(COMMAND, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    output, errors = done.communicate(timeout=120)
    return done.returncode, output + errors


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_a_full_disk(tmp_path, suffix):
    with small_disk(tmp_path / "disk") as disk:
        store = make_store(disk / f"s{suffix}", {"a": 40}, head=header(dim=512))
        big = make_store(tmp_path / "big.h5", {"b": 2000}, head=header(dim=512))
        for arguments in (("merge", store, big, "--out", disk / f"m{suffix}"), ("convert", big, disk / f"c{suffix}")):
            status, output = command(*arguments)
            assert status == 2 and output.count("error:") == 1 and "Traceback" not in output, output
            assert "no space left" in output.lower(), output
        with open_store(store) as opened:
            assert verify(opened) == []
        assert not store_exists(disk / f"m{suffix}") and not store_exists(disk / f"c{suffix}")
        free = os.statvfs(disk)
        assert free.f_bavail * free.f_frsize > 1 << 20, "what was half-written is gone"


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_a_disk_that_cannot_be_written(tmp_path, suffix):
    with small_disk(tmp_path / "disk") as disk:
        store = make_store(disk / f"s{suffix}", {"a": 40})
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        assert "1 videos" in run("info", store)
        (tmp_path / "m.csv").write_text("video_id,split,category,score_total\na,test,B,7.5\n")
        for arguments in (
            ("relabel", store, "--manifest", tmp_path / "m.csv"),
            ("convert", store, disk / f"c{suffix}"),
            ("merge", store, "--out", disk / f"m{suffix}"),
        ):
            output = run(*arguments, status=2)
            assert output.count("error:") == 1 and "no permission" in output, output


def test_a_part_that_is_damaged_stops_nothing_else(tmp_path):
    """A video that was damaged after it was written is named and left out, the others are published, and the file is kept."""
    store = tmp_path / "s.h5"
    part(store, "a", 5)
    publish(store)
    part(store, "b", 5)
    (damaged,) = list_parts(store)
    content = bytearray(damaged.read_bytes())
    place = content.rindex(b"LTFR") - 100
    content[place] ^= 1
    damaged.write_bytes(content)
    part(store, "c", 5)
    with pytest.warns(LongtakeWarning) as said:
        packed = publish(store)
    assert (packed.published, packed.num_videos, packed.num_lost) == (True, 2, 1)
    assert "the features of b are damaged" in str(said[0].message)
    assert "1 finished videos were damaged" in packed.trouble(store)
    with open_store(store) as opened:
        assert opened.stream().videos.video_ids == ("a", "c") and not verify(opened)
    assert [path.read_bytes() for path in parts_folder(store).iterdir()] == [content]
    assert publish(store).num_videos == 0


@pytest.mark.filterwarnings("ignore::longtake.errors.LongtakeWarning")
def test_a_damaged_description_is_a_lost_video(tmp_path):
    """The command that published must not say that all went well."""
    store = tmp_path / "s.h5"
    part(store, "a", 5)
    (damaged,) = list_parts(store)
    damaged.write_bytes(damaged.read_bytes().replace(b'"written_ns"', b'"written_xx"'))
    packed = publish(store)
    assert (packed.published, packed.num_videos, packed.num_lost) == (True, 0, 1)
    with pytest.raises(FeaturesError, match="1 finished videos were damaged"):
        packed.require_published(store)


@pytest.mark.filterwarnings("ignore:the damaged segment is kept")
def test_many_damaged_videos_cost_one_more_attempt(tmp_path, monkeypatch):
    store, attempts, write_store = tmp_path / "s.h5", [], parts.write_store
    names = [f"v{number}" for number in range(9)]
    with parts.part_writer(store) as writer:
        for name in names:
            writer.append("d", labels([name]), {header(): video(name, 5)})
    (path,) = list_parts(store)
    content = bytearray(path.read_bytes())
    for one in read_segment(path, 0).videos[1:]:
        content[one.streams[0].offset] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr(parts, "write_store", lambda *a, **b: (attempts.append(1), write_store(*a, **b)))
    with pytest.warns(LongtakeWarning, match="features of v1 are damaged .*(?s:.*)of v8 are damaged"):
        packed = parts.pack(store, dataset="d", card=None, labels=labels(names))
    assert (packed.num_lost, len(attempts)) == (8, 2)


def test_an_old_part_that_is_damaged(tmp_path):
    """It is named, and the store does not change."""
    store = make_store(tmp_path / "s.h5", {"a": 5})
    parts_folder(store).mkdir()
    damaged = make_store(parts_folder(store) / "b@1.h5", {"b": 5})
    damaged.write_bytes(damaged.read_bytes()[:500])
    with pytest.raises(FeaturesError, match="b@"):
        publish(store)
    with open_store(store) as opened:
        assert opened.stream().videos.video_ids == ("a",)
