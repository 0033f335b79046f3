"""Folder trees as people have them, and the import of one."""

import h5py
import numpy as np

from longtake.features.cli import main
from longtake.features.store import open_store
from tests.calls import invoke

IDS = ("a1", "a2", "b1")


def clips(video_id, num_clips=None, dim=6):
    rng = np.random.default_rng(sum(video_id.encode()))
    return rng.normal(size=(num_clips or 2 + sum(video_id.encode()) % 5, dim)).astype(np.float32)


def write_table(path, ids=IDS):
    path.write_text("video_id,split,score_total\n" + "".join(f"{name},train,{n}\n" for n, name in enumerate(ids)))
    return path


def imported(source, *options, layout="files", status=0, out="o.h5"):
    """Runs `features import`; relative to the parent of the source."""
    call = (source, "--layout", layout, "--backbone", "net", "--out", source.parent / out, *options)
    return invoke(main, "import", *call, status=status).output


def holds(source, expected, out="o.h5"):
    """The store has exactly these videos and values; returns it as video -> features, and the labels."""
    with open_store(source.parent / out) as store:
        stream = store.stream()
        assert stream.videos.video_ids == tuple(expected), stream.videos.video_ids
        for video_id, values in expected.items():
            np.testing.assert_array_equal(stream.read(video_id).features, values)
        return {video_id: stream.read(video_id) for video_id in expected}, store.labels, stream.header


def h5(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            if name.startswith("at_"):
                file.attrs[name.removeprefix("at_")] = values
            else:
                file[name.replace("__", "/")] = values
    return path
