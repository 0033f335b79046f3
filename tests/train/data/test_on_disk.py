"""Features that stay on the disk give what they give in memory, bit for bit, and hold little of it."""

import shutil
import tracemalloc
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import longtake
from longtake.features import stream as streams
from longtake.features.content import Storage, StreamItem, StreamPlan
from longtake.features.errors import Damaged
from longtake.features.labels import Labels
from longtake.features.store import open_store, write_store
from longtake.features.types import FeatureHeader, VideoFeatures, VideoRecord
from longtake.train.data.batches import BatchMaker
from longtake.train.data.clip_table import ClipTable, join_tables
from longtake.train.data.dataset import FeatureSet
from longtake.train.data.on_disk import CopiedStream, OpenStream
from longtake.train.errors import DataError
from longtake.train.heads.base import Needs

LENGTHS = [9, 31, 4, 1, 17, 40, 12, 26]
DIM = 16
FORMS = [(".h5", "none"), (".h5", "gzip"), (".zarr", "default"), (".zarr", "none")]


def write(path, compression="none", dtype="float32", lengths=LENGTHS, dim=DIM, seed=0, num_streams=3):
    """Two streams with the same clips, and frames with a clock of their own; or the first of these."""
    rng = np.random.default_rng(seed)
    ids = tuple(f"v{number}" for number in range(len(lengths)))
    plans = []
    for name, modality, width, rate in (("seen", "video", dim, 1), ("heard", "audio", 3, 1), ("frames", "image", 5, 2))[
        :num_streams
    ]:
        items = []
        for video_id, length in zip(ids, lengths):
            begins = np.arange(length * rate) / rate
            table = rng.normal(size=(len(begins), width)).astype(dtype)
            made = VideoFeatures(VideoRecord(video_id), table, begins, begins + 1 / rate)
            items.append(
                StreamItem(
                    made.record, len(begins), partial(VideoFeatures, made.record, *(table, begins, begins + 1 / rate))
                )
            )
        header = FeatureHeader(name, modality, width, "made", None, False, 16, 16, "pad", 16.0)
        plans.append(StreamPlan(header, np.dtype(dtype), items))
    splits = tuple("test" if number % 4 == 3 else "train" for number in range(len(lengths)))
    scores = rng.uniform(0, 10, size=(len(lengths), 1))
    labels = Labels(
        ids,
        splits,
        ("A",) * len(ids),
        ("total",),
        scores,
        groups={"skater": tuple(f"s{n % 3}" for n in range(len(ids)))},
    )
    write_store(
        path,
        dataset="made",
        card=None,
        labels=labels,
        streams=plans,
        storage=Storage(chunk_rows=8, compression=compression),
    )
    return path


def load(path, memory, second="heard"):
    """The store is closed when batches are made, as in a run."""
    with open_store(path) as store:
        return FeatureSet.load(store, "seen", second, memory=memory)


def tensors_of(batch):
    found = {name: value for name, value in vars(batch).items() if isinstance(value, torch.Tensor)}
    if batch.second_stream is not None:
        found |= {f"frames {name}": value for name, value in vars(batch.second_stream).items()}
    return found


def assert_same_batches(one, other):
    one, other = list(one), list(other)
    assert len(one) == len(other) > 0
    for mine, theirs in zip(one, other):
        assert mine.rows == theirs.rows
        found, wanted = tensors_of(mine), tensors_of(theirs)
        assert found.keys() == wanted.keys() and found["clips"].dtype == torch.float32
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("form", FORMS, ids=" ".join)
def test_same_batches_as_in_memory(tmp_path, form, dtype):
    path = write(tmp_path / f"s{form[0]}", form[1], dtype)
    for second in ("heard", "frames"):
        memory, disk = load(path, "1GB", second), load(path, 0, second)
        assert disk.on_disk and not memory.on_disk and disk.num_bytes == memory.num_bytes
        assert {str(table.features.dtype) for table in disk.tables} == {
            dtype
        } and memory.clips.features.dtype == getattr(torch, dtype)
        # A plain local HDF5 file is read itself, others are copied once.
        assert {type(s) for t in disk.tables for s in t.features.sources} == {
            OpenStream if form == (".h5", "none") else CopiedStream
        }
        assert disk.data_id() == memory.data_id()
        assert torch.equal(disk.means.clips.tensor, memory.means.clips.tensor) and not disk.means.on_disk
        assert torch.equal(disk.clips.tensor, memory.clips.tensor)
        rows, targets = np.array([5, 0, 7, 2, 4, 1]), np.zeros(6)
        for sampling in ("contiguous", "spread"):
            rngs = [np.random.default_rng(3) for _ in range(2)]
            for _ in range(2):
                both = [
                    BatchMaker(data).train(rows, targets, window=11, batch_size=4, rng=rng, sampling=sampling)
                    for data, rng in zip((disk, memory), rngs)
                ]
                assert_same_batches(*both)
            assert rngs[0].bit_generator.state == rngs[1].bit_generator.state, "the next epoch draws the same"
        for window in ("whole", "centre", "spread"):
            both = [
                BatchMaker(data).test(rows, targets, window=11, test_window=window, batch_size=3)
                for data in (disk, memory)
            ]
            assert_same_batches(*both)


def test_videos_taken_and_joined(tmp_path):
    path = write(tmp_path / "s.h5", dtype="float16")
    rows = np.array([6, 1, 3])
    found = {}
    for memory in (0, "1GB"):
        data = load(path, memory)
        found[memory] = join_tables([data.take(rows).clips, data.clips])
    assert torch.equal(found[0].tensor, found["1GB"].tensor) and found[0].fits(11)
    assert torch.equal(found[0].means().tensor, found["1GB"].means().tensor)


@pytest.mark.parametrize("on_disk", [False, True])
def test_videos_in_any_order(tmp_path, on_disk):
    with open_store(write(tmp_path / "s.h5")) as store:
        stream = store.stream("seen")
        rows = [6, 1, 3, 7]
        table = ClipTable.read(store.path, stream, rows, on_disk)
        videos = [stream.read(row) for row in rows]
    np.testing.assert_array_equal(table.tensor, np.concatenate([video.features for video in videos]))
    np.testing.assert_array_equal(table.seconds[:, 0], np.concatenate([video.start_seconds for video in videos]))
    np.testing.assert_allclose(table.means().tensor, [video.features.mean(0) for video in videos], atol=1e-6)
    assert table.num_clips.tolist() == [LENGTHS[row] for row in rows]


def test_batches_of_a_head_that_reads_no_clips_read_nothing(tmp_path, monkeypatch):
    data = load(write(tmp_path / "s.h5"), 0, None)
    monkeypatch.setattr(OpenStream, "read", lambda *_: pytest.fail("read"))
    rows = np.arange(len(LENGTHS))
    maker = BatchMaker(data, Needs(clips=False))
    for batch in maker.test(rows, np.zeros(8), window=11, test_window="whole", batch_size=3):
        assert batch.clips.shape == (*batch.mask.shape, DIM) and not batch.clips.any()


def changed(path, value):
    """One byte of the first stream's features is another."""
    whole = bytearray(path.read_bytes())
    place = whole.find(value.tobytes())
    assert place > 0
    whole[place] ^= 1
    path.write_bytes(whole)


@pytest.mark.parametrize("memory", [0, "1GB"])
def test_damage_is_found_when_the_store_is_read(tmp_path, memory):
    path = write(tmp_path / "s.h5")
    with open_store(path) as store:
        value = store.stream("seen").read("v5").features[7]
    changed(path, value)
    with pytest.raises(Damaged, match="s.h5: seen@.* v5: its features do not match their checksum"):
        load(path, memory)


def test_damage_is_found_while_training(tmp_path):
    """Bytes that change in place after the store was read."""
    path = write(tmp_path / "s.h5")
    data = load(path, 0)
    value = data.clips.features.read(int(data.clips.offsets[5]) + 7, int(data.clips.offsets[5]) + 8)
    changed(path, value)
    batches = BatchMaker(data).test(np.arange(8), np.zeros(8), window=11, test_window="whole", batch_size=3)
    with pytest.raises(Damaged, match="v5: its features do not match their checksum"):
        list(batches)


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_a_store_that_is_published_again_while_training_goes_on(tmp_path, suffix):
    """The batches are those of the store that was opened."""
    path = write(tmp_path / f"s{suffix}", num_streams=1)
    data, memory = (load(path, memory, None) for memory in (0, "1GB"))
    write(path, seed=1, num_streams=1)
    for generation in path.glob("*@*") if path.is_dir() else ():
        shutil.rmtree(generation)
    both = [
        BatchMaker(one).test(np.arange(8), np.zeros(8), window=11, test_window="whole", batch_size=3)
        for one in (data, memory)
    ]
    assert_same_batches(*both)


def test_a_store_that_is_published_again_and_cleared_while_it_is_read(tmp_path):
    path = write(tmp_path / "s.zarr", num_streams=1)
    with open_store(path) as store:
        old = set(path.glob("*@*"))
        write(path, seed=1, num_streams=1)
        for generation in old:
            shutil.rmtree(generation)
        with pytest.raises(DataError, match="published again while it was being read"):
            FeatureSet.load(store, memory=0)


def test_a_store_that_is_published_again_before_it_is_read(tmp_path):
    path = write(tmp_path / "s.h5", num_streams=1)
    with open_store(path) as store:
        write(path, seed=1, num_streams=1)
        with pytest.raises(DataError, match="published again while it was being read"):
            FeatureSet.load(store, memory=0)


@pytest.mark.parametrize("memory", [0, "1GB"])
def test_features_that_are_no_numbers(tmp_path, memory, monkeypatch):
    path = write(tmp_path / "s.h5", dtype="float16")
    blocks = streams.Stream.blocks

    def with_infinity(self, first, end):
        for rows, (features, *times) in blocks(self, first, end):
            features = features.copy()
            features[5] = np.inf
            yield rows, (features, *times)

    monkeypatch.setattr(streams.Stream, "blocks", with_infinity)
    with pytest.raises(DataError, match="NaN or infinity"):
        load(path, memory)


def test_large_float16_values_are_numbers(tmp_path):
    """Their sum is not, in float16."""
    header = FeatureHeader("large", "video", 64, "made", None, False, 16, 16, "pad", None)
    video = VideoFeatures(VideoRecord("v0"), np.full((3, 64), 60000, np.float16), np.arange(3.0), np.arange(3.0) + 1)
    labels = Labels(("v0",), ("train",), ("A",), ("total",), np.ones((1, 1)))
    plan = StreamPlan(header, np.dtype("float16"), [StreamItem.of(video)])
    write_store(tmp_path / "s.h5", dataset="d", card=None, labels=labels, streams=[plan])
    with open_store(tmp_path / "s.h5") as store:
        for memory in (0, "1GB"):
            assert FeatureSet.load(store, memory=memory).means.clips.tensor.tolist() == [[60000.0] * 64]


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_memory_that_is_held(tmp_path, monkeypatch, compression):
    """Of 13 MB of features, loading and an epoch hold less than a fifth: a block, some batches, and the mean of each video."""
    monkeypatch.setattr(streams, "BLOCK_BYTES", 1 << 19)
    path = write(tmp_path / "s.h5", compression, lengths=[160] * 40, dim=512)
    rows = np.arange(40)

    def peak(memory):
        with open_store(path) as store:
            tracemalloc.start()
            try:
                data = FeatureSet.load(store, "seen", memory=memory)
                rng = np.random.default_rng(0)
                for _ in BatchMaker(data).train(rows, np.zeros(40), window=20, batch_size=4, rng=rng):
                    pass
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    peaks = [peak(memory) for memory in ("1GB", 0)]
    assert peaks[1] < 0.2 * 160 * 40 * 512 * 4 < peaks[0], peaks


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    lengths = [5 + number * 7 % 23 for number in range(24)]
    return write(tmp_path_factory.mktemp("lab") / "s.h5", dtype="float16", lengths=lengths)


def weights_of(run):
    return {path.name: load_file(path) for path in sorted((run.folder / "checkpoints").glob("*.safetensors"))}


@pytest.mark.filterwarnings("ignore::longtake.LongtakeWarning")
@pytest.mark.parametrize(
    "head, choices",
    [
        ("gdlt", {"epochs": 1, "window": 8, "folds": 2, "floor": True}),
        ("usdl", {"epochs": 2, "window": 30, "seeds": 2, "parallel": "stacked"}),
        ("core", {"epochs": 1, "window": 8}),
        ("skating-mixer", {"epochs": 1, "window": 8, "audio": "heard"}),
        ("i3d-mlp", {"epochs": 2, "window": 40}),
        ("c3d-svr", {}),
        ("metadata", {}),
    ],
)
def test_same_weights_and_scores_as_in_memory(lab, tmp_path, head, choices):
    runs = [
        longtake.fit(
            lab, out=tmp_path / str(memory), head=head, backbone="seen", **{"floor": False, "memory": memory, **choices}
        )
        for memory in ("1GB", 0)
    ]
    mine, theirs = map(weights_of, runs)
    assert mine.keys() == theirs.keys() and mine
    for name in mine:
        assert all(torch.equal(mine[name][key], theirs[name][key]) for key in mine[name] | theirs[name])
    assert runs[0].predictions == runs[1].predictions
    figures = [[(row.spearman, row.floor_spearman) for row in run.table] for run in runs]
    assert repr(figures[0]) == repr(figures[1])
    scored = [longtake.predict(runs[0].folder, features=lab, memory=memory) for memory in ("1GB", 0)]
    assert [one.predicted for one in scored[0]] == [one.predicted for one in scored[1]] and scored[0]


def test_a_head_that_holds_all_clips_says_what_it_needs(lab, tmp_path):
    with pytest.raises(
        DataError,
        match=r"head kernel holds all training clips at once while it is fitted, which takes [\d.]+ MB for 18 videos",
    ):
        longtake.fit(lab, out=tmp_path / "run", head="kernel", backbone="seen", memory=0, landmarks=32)
    assert not (tmp_path / "run").exists()
