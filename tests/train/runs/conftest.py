"""A run that every kind of figure can be drawn of, and one that has scores alone."""

import pytest

from longtake.train.cli import main
from tests.calls import invoke
from tests.train.planted import planted_store


@pytest.fixture(scope="session")
def small_lab(tmp_path_factory):
    """Folder with the runs gslm and ridge of the store s.h5."""
    folder = tmp_path_factory.mktemp("plots")
    store = planted_store(folder / "s.h5", num_train=12, num_test=7, categories=("A", "B"), weights="random:0")
    call = ("heads", "--features", store, "--no-intervals", "--category")
    settings = ("--set", "scores=11", "--set", "width=16", "--set", "heads=2", "--set", "queries=learnable")
    invoke(
        main,
        *call,
        "A",
        "--category",
        "B",
        "--epochs",
        2,
        "--seeds",
        2,
        "--head",
        "gslm",
        *settings,
        "--out",
        folder / "gslm",
    )
    invoke(main, *call, "A", "--category", "B", "--head", "ridge", "--out", folder / "ridge")
    return folder
