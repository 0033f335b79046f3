"""What is found below the given folders, here and at URLs, and what is not followed."""

import os

import pytest

from longtake.features.catalog import walk
from longtake.features.catalog.walk import FOLDER, STORE, Folders, Found
from longtake.features.errors import FeaturesError
from tests.features.servers import s3_server

MARKERS = {"metrics.json": "run"}


def found(folders, *given):
    with Folders.of(given) as opened:
        return [(one.name, one.kind, one.fault) for one in opened.find(folders)]


@pytest.fixture
def lab(tmp_path):
    lab = tmp_path / "lab"
    for name in ("runs/a", "runs/.hidden", "s.h5.parts", "deep/er"):
        (lab / name).mkdir(parents=True)
    for name in ("runs/a/metrics.json", "runs/.hidden/metrics.json", "s.h5", "s.h5.parts/p.h5", "deep/er/t.h5"):
        (lab / name).write_text("{}")
    return lab


def test_stores_and_marked_folders_in_the_order_of_names(lab):
    assert found(MARKERS, lab) == [("deep/er/t.h5", STORE, ""), ("runs/a", "run", ""), ("s.h5", STORE, "")]
    assert len(found(MARKERS, lab, lab / "runs", lab / "s.h5")) == 3, "each once"
    assert found({}, lab / "s.h5") == [("s.h5", STORE, "")], "a store by its own path"
    assert found(MARKERS, lab / "runs" / "a") == [("a", "run", "")], "a run by its own path"


def test_links_that_leave_the_folders_are_rows_with_a_reason(lab, tmp_path):
    outside = tmp_path / "outside"
    (outside / "run").mkdir(parents=True)
    for name in ("x.h5", "secret"):
        (outside / name).write_text("secret")
    (lab / "link.h5").symlink_to(outside / "x.h5")
    (lab / "inside.h5").symlink_to(lab / "s.h5")
    (lab / "folder").symlink_to(outside, target_is_directory=True)
    (lab / "runs" / "b").mkdir()
    (lab / "runs" / "b" / "metrics.json").symlink_to(outside / "secret")
    faults = {name: fault for name, _, fault in found(MARKERS, lab)}
    assert (
        "outside" in faults["link.h5"] and "outside" in faults["runs/b"] and faults["inside.h5"] == faults["s.h5"] == ""
    )
    assert not any(name.startswith("folder") for name in faults)
    assert dict((name, fault) for name, _, fault in found(MARKERS, lab, outside))["link.h5"] == "", "given as well"


def test_files_of_a_run_are_read_inside_alone(lab, tmp_path):
    """A run whose predictions are a link to another file of the machine shows none of it."""
    (tmp_path / "secret").write_text("secret")
    (lab / "runs" / "a" / "predictions.csv").symlink_to(tmp_path / "secret")
    with Folders.of([lab]) as opened:
        (run,) = [one for one in opened.find(MARKERS) if one.kind == "run"]
        with pytest.raises(FeaturesError, match="predictions.csv is a link to outside"):
            opened.fetch(run, ["metrics.json", "predictions.csv"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_without_permission_is_a_row(lab):
    (lab / "deep").chmod(0)
    try:
        assert ("deep", FOLDER, "cannot be listed: Permission denied") in found(MARKERS, lab)
    finally:
        (lab / "deep").chmod(0o755)


def test_a_folder_that_is_missing(tmp_path):
    with pytest.raises(FeaturesError, match="no folder .*nowhere"):
        Folders.of([tmp_path / "nowhere"])


def test_a_bucket(lab, monkeypatch):
    import boto3

    with s3_server(monkeypatch) as bucket:
        client = boto3.client("s3")
        for name in ("x/s.h5", "x/z.zarr/zarr.json", "x/runs/a/metrics.json"):
            client.put_object(Bucket=bucket, Key=name, Body=b'{"a": 1}')
        url = f"s3://{bucket}/x"
        assert found(MARKERS, url) == [("runs/a", "run", ""), ("s.h5", STORE, ""), ("z.zarr", STORE, "")]
        with Folders.of([url]) as opened:
            run = next(one for one in opened.find(MARKERS) if one.kind == "run")
            assert run.place == f"{url}/runs/a"
            folder = opened.fetch(run, ["metrics.json", "missing.csv"])
            assert [path.name for path in folder.iterdir()] == ["metrics.json"]
            assert (folder / "metrics.json").read_text() == '{"a": 1}'
        assert not folder.exists(), "copies go with the context"


def test_a_web_folder_whose_page_links_elsewhere(lab, monkeypatch):
    """Only what is directly in the folder counts: a page may link to anything."""
    from longtake.features.catalog import walk

    class Filesystem:
        def ls(self, path, detail):
            return [
                {"name": f"{path}s.h5", "type": "file"},
                {"name": "https://elsewhere.org/x.h5", "type": "file"},
                {"name": f"{path}../up.h5", "type": "file"},
                {"name": path, "type": "directory"},
            ]

    monkeypatch.setattr(walk, "open_filesystem", lambda url: (Filesystem(), url))
    assert found(MARKERS, "https://lab.org/stores") == [("s.h5", STORE, "")]


def test_the_cells_of_a_sweep_at_a_url_have_a_bound(monkeypatch):
    import fsspec

    fsspec.filesystem("memory").pipe({f"/bound/sweep/{cell}/done.json": b"{}" for cell in "ab"})
    with Folders.of(["memory://bound"]) as folders:
        sweep = Found("sweep", "memory://bound/sweep", "sweep")
        assert len(folders.fetch_below(sweep, ["done.json"])) == 2
        monkeypatch.setattr(walk, "MOST_LISTINGS", 1)
        with pytest.raises(FeaturesError, match="has 2 folders; at most 1 are read"):
            folders.fetch_below(sweep, ["done.json"])
