"""Hostile stores for the tests of formats, and what refusing them means."""

import tracemalloc

import pytest
from click.testing import CliRunner

from longtake.errors import LongtakeError
from longtake.features.cli import main
from longtake.features.store import open_store
from tests.features import raw

HUGE = (1 << 40, 6)


def touch_everything(path):
    with open_store(path) as store:
        assert len(store.labels) == 4
        for stream in store.streams:
            stream.read_all()
            assert len(stream.records) == len(stream.videos.checksums)
            for video_id in stream.videos.video_ids:
                stream.read(video_id)


def refused(path, words=None):
    """With one line, when the store is opened or the faulty value is read, and by the command too."""
    tracemalloc.start()
    with pytest.raises(LongtakeError, match=words) as caught:
        touch_everything(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200e6, f"{peak / 1e6:.0f} MB were taken"
    assert "\n" not in str(caught.value).strip() and str(caught.value)
    done = CliRunner().invoke(main, ["verify", str(path)])
    assert done.exit_code in (1, 2) and "Traceback" not in done.output, done.output


def stream_of(tree):
    return next(iter(tree["streams"].values()))


def changed(change):
    def make(path):
        tree = raw.example()
        change(tree)
        raw.write(path, tree)

    return make


def put(name, value):
    *groups, last = name.split("/")

    def change(tree):
        node = stream_of(tree)
        for group in groups:
            node = node[group]
        node[last] = value(node[last]) if callable(value) else value

    return changed(change)
