import pytest

from longtake.train.cli import main
from tests.calls import invoke
from tests.train.bench.benches import Made, bench_file, bench_store


def call(*arguments, status=0):
    return invoke(main, "bench", *arguments, status=status)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A finished bench."""
    folder = tmp_path_factory.mktemp("bench")
    store = bench_store(folder)
    file = bench_file(folder, store)
    said = call(file, "--out", folder / "out").output
    return Made(store, file, folder / "out", said)
