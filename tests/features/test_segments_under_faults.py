"""Writers and packers of segments that are killed at random moments, run at once, or see a network file system late: nothing is lost or doubled."""

import multiprocessing
import random
import signal
import time

import pytest

from longtake.features import parts
from longtake.features.finished import read_finished
from longtake.features.parts import pack, parts_folder
from longtake.features.segments.writer import SegmentLimits, SegmentWriter, renamed, segment_name
from longtake.features.store import open_store
from longtake.features.tools.inspect import diff, verify
from longtake.files import Writer
from tests.features.fakes import header, labels, list_parts, video

FOREIGN = Writer(77, "another-machine", 5)
IDS = [f"v{number:03d}" for number in range(60)]
LABELS = labels(IDS)


def made(number):
    """Every seventh video failed."""
    return video(IDS[number], 0 if number % 7 == 3 else 1 + number % 5, seed=number)


def work(store, numbers):
    """What is not stored yet, in segments of five videos."""
    finished = read_finished(store, "d", None)
    with SegmentWriter(parts_folder(store), SegmentLimits(num_videos=5)) as writer:
        for number in numbers:
            if IDS[number] not in finished.records.get(header().recipe_id, {}):
                writer.append("d", LABELS.subset([number]), {header(): made(number)})
                time.sleep(0.001)


def publish(store):
    return pack(store, dataset="d", card=None, labels=LABELS)


def undisturbed(path):
    work(path, range(len(IDS)))
    publish(path)
    return path


def equal(one, other):
    with open_store(one) as ours, open_store(other) as theirs:
        return not diff(ours, theirs) and not verify(theirs) and sorted(theirs.stream().videos.video_ids) == IDS


def publish_for_ever(store):
    while True:
        publish(store)


def started(*call):
    """A forked process: it starts in milliseconds."""
    process = multiprocessing.get_context("fork").Process(target=call[0], args=call[1:], daemon=True)
    process.start()
    return process


def end(process):
    process.kill()
    process.join()
    assert process.exitcode in (-signal.SIGKILL, 0), "it ended with an error"


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Locks without a name, and generations of Zarr, are removed soon."""
    monkeypatch.setattr("longtake.features.claim.NAMELESS_SECONDS", 1.0)
    monkeypatch.setattr("longtake.features.formats.zarr3.GRACE_SECONDS", 0)


def killed_at_random(folder, suffix, num_kills, rng):
    """Writers of two halves and a packer, each killed again and again while the others run on."""
    store = folder / f"s{suffix}"
    roles = [(work, store, range(30)), (work, store, range(30, 60)), (publish_for_ever, store)]
    running = [started(*role) for role in roles]
    known = set()
    for _ in range(num_kills):
        time.sleep(rng.uniform(0, 0.1))
        index = rng.randrange(3)
        end(running[index])
        now = set(read_finished(store, "d", None).records.get(header().recipe_id, {}))
        assert known <= now, "a finished video was lost"
        known = now
        running[index] = started(*roles[index])
    for process in running:
        end(process)
    work(store, range(len(IDS)))
    deadline = time.monotonic() + 30
    while not publish(store).published and time.monotonic() < deadline:
        time.sleep(0.05)  # The last kill may have left a lock without a name.
    assert equal(undisturbed(folder / "whole.h5"), store)
    assert not parts_folder(store).exists()


@pytest.mark.filterwarnings("ignore::longtake.errors.LongtakeWarning")
def test_kills_at_random_moments(tmp_path):
    killed_at_random(tmp_path, ".h5", 6, random.Random(5))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::longtake.errors.LongtakeWarning")
@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_a_hundred_kills_at_random_moments(tmp_path, suffix):
    killed_at_random(tmp_path, suffix, 50, random.Random(len(suffix)))


@pytest.mark.filterwarnings("ignore::longtake.errors.LongtakeWarning")
@pytest.mark.parametrize("seed", range(2))
def test_a_network_file_system_that_shows_files_late(tmp_path, seed):
    """Segments of another machine appear late, without their end, with a hole, and under the former name; packers publish meanwhile."""
    rng = random.Random(seed)
    store, source = tmp_path / "s.h5", tmp_path / "other"
    with SegmentWriter(source, SegmentLimits(num_videos=8)) as writer:
        for number in range(len(IDS)):
            writer.append("d", LABELS.subset([number]), {header(): made(number)})
    folder = parts_folder(store)
    names = {
        path: segment_name(FOREIGN, f"{index:08x}", "sealed") for index, path in enumerate(sorted(source.iterdir()))
    }
    waiting = list(names)
    rng.shuffle(waiting)
    for path in waiting:
        folder.mkdir(exist_ok=True)
        content = path.read_bytes()
        target = folder / names[path]
        former = renamed(target, "open")
        hole = rng.randrange(16, len(content) - 200)
        for seen in (
            content[: rng.randrange(len(content))],
            content[:hole] + bytes(200) + content[hole + 200 :],
        ):
            name = rng.choice([target, former])
            name.write_bytes(seen)
            publish(store)
            assert name.exists(), "it was removed or put aside before it was whole"
        former.unlink(missing_ok=True)
        target.write_bytes(content)
        if rng.random() < 0.5:
            publish(store)
    publish(store)
    assert equal(undisturbed(tmp_path / "whole.h5"), store) and not list_parts(store)


def test_a_disk_that_is_full_while_a_store_is_published(tmp_path, monkeypatch):
    """The segments stay, and are published when there is room."""
    store = tmp_path / "s.h5"
    work(store, range(20))
    publish(store)
    work(store, range(len(IDS)))
    kept = list_parts(store)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(parts, "write_store", full)
        with pytest.raises(OSError, match="No space left"):
            publish(store)
    assert list_parts(store) == kept
    publish(store)
    assert equal(undisturbed(tmp_path / "whole.h5"), store) and not parts_folder(store).exists()


def test_two_packers_at_once(tmp_path):
    store = tmp_path / "s.h5"
    packers = [started(publish_for_ever, store) for _ in range(2)]
    work(store, range(len(IDS)))
    deadline = time.monotonic() + 60
    while parts_folder(store).exists() and list_parts(store) and time.monotonic() < deadline:
        time.sleep(0.01)
    for packer in packers:
        assert packer.is_alive()
        end(packer)
    publish(store)
    assert equal(undisturbed(tmp_path / "whole.h5"), store)
