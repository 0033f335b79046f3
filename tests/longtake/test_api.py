"""The Python API: open a store, train a head, score videos, and look at the results in a notebook."""

import pytest

import longtake
from tests.train.planted import planted_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return planted_store(tmp_path_factory.mktemp("api") / "s.h5", num_train=12, num_test=4)


def test_from_a_store_to_predictions(store, tmp_path):
    with longtake.open_store(store) as opened:
        assert isinstance(opened, longtake.Store) and isinstance(opened.stream().header, longtake.FeatureHeader)
        assert opened.stream().name in opened._repr_html_()
    run = longtake.fit(store, head="ridge", floor=False, out=tmp_path / "run")
    assert isinstance(run, longtake.Run)
    row = run.table[-1]
    assert repr(run).startswith(f"Run('{tmp_path / 'run'}': Spearman ") and f"{row.spearman:.3f}" in repr(run)
    assert "\n" not in repr(run) and run._repr_html_().startswith("<table>")

    found = longtake.predict(run.folder, features=store)
    assert isinstance(found, longtake.Predictions) and len(found) >= 4
    assert isinstance(found, list) and isinstance(found[0], longtake.Prediction)
    assert repr(found[0]).startswith(f"Prediction({found[0].video_id!r}: ") and len(repr(found[0])) < 80
    assert found._repr_html_().count("<tr>") == len(found) + 1

    pytest.importorskip("pandas")
    assert run.to_pandas()["spearman"].tolist() == [one.spearman for one in run.table]
    assert found.to_pandas()["predicted"].tolist() == [one.predicted for one in found]


def test_a_mistake_is_an_error_of_ours(tmp_path):
    with pytest.raises(longtake.LongtakeError, match="nothing.h5"):
        longtake.fit(tmp_path / "nothing.h5")
    with pytest.raises(longtake.LongtakeError, match="unknown dataset 'rgg'; did you mean rg"):
        longtake.extract_videos(dataset="rgg")
