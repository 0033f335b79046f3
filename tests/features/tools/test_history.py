from __future__ import annotations

import pytest

from longtake.features.errors import FeaturesError, NotInStore
from longtake.features.tools.history import history
from tests.features.fakes import store_of
from tests.features.remotes.places import pull_name, push_path


def test_of_a_name_of_a_store_and_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGTAKE_LIBRARY", str(tmp_path / "library"))
    monkeypatch.delenv("LONGTAKE_REMOTE", raising=False)
    remote = str(tmp_path / "remote")
    for ids in ("ab", "abc"):
        push_path(store_of(tmp_path / f"{ids}.zarr", ids), remote, name="d")
    assert [(v.number, same) for v, same in history("d", remote)] == [(1, False), (2, False)]
    assert [(v.number, same) for v, same in history(str(store_of(tmp_path / "x.h5", "ab")), remote)] == [
        (1, True),
        (2, False),
    ]
    assert [v.number for v, _ in history("d@2", remote)] == [2]
    with pytest.raises(NotInStore, match="no version of d was pulled"):
        history("d", None)
    pull_name("d@1", remote)
    assert [v.number for v, _ in history("d", None)] == [1]
    with pytest.raises(FeaturesError, match="no version d@7"):
        history("d@7", remote)
    with pytest.raises(NotInStore, match="no store 'e'"):
        history("e", remote)
