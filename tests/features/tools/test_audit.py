"""Leaks between training and test videos: each kind is found where it is planted, and clean data have none."""

import json
from dataclasses import replace

import numpy as np
import pytest

from longtake.features.labels import Labels
from longtake.features.store import write_store
from longtake.features.tools.audit import AuditedVideos, leaks
from longtake.features.types import VideoFeatures, VideoRecord
from longtake.manifests.table import find_manifest
from tests.features.fakes import header, plan, run

NUMBER = 60
PARTS = np.arange(NUMBER) % 3
RNG = np.random.default_rng(4)
CLEAN = AuditedVideos(
    [f"v{n}" for n in range(NUMBER)],
    RNG.normal(size=(NUMBER, 32)),
    [np.array([f"sum {n}" for n in range(NUMBER)], dtype=object)],
    np.array([f"file {n // 2}" for n in range(NUMBER)], dtype=object),
    np.array([(10.0 * (n % 2), 10.0 * (n % 2) + 10) for n in range(NUMBER)]),
    RNG.uniform(0, 40, (NUMBER, 2)).round(2),
    {"skater": np.array([f"s{n % 3} {n // 9}" for n in range(NUMBER)], dtype=object)},
)
"""Two routines a file, one after the other, in different parts; every skater is in one part."""


def found(videos, parts=PARTS, tested=PARTS == 2):
    return {leak.kind: leak.pairs for leak in leaks(videos, parts, tested)}


def put(values, row, value):
    changed = values.copy()
    changed[row] = value
    return changed


@pytest.mark.parametrize("tested", [None, PARTS == 2])
def test_clean_data_have_no_leak(tested):
    assert leaks(CLEAN, PARTS, tested) == []


def test_planted_leaks():
    """Videos 5 and 8 are tested, 3 and 4 train, 11 is tested as well."""
    noise = RNG.normal(size=32) * 0.02
    for changed, kind in (
        (replace(CLEAN, contents=[put(CLEAN.contents[0], [3, 5, 8], "same")]), "identical"),
        (replace(CLEAN, means=put(CLEAN.means, [5, 8], CLEAN.means[3] + noise)), "near-identical"),
        (replace(CLEAN, scores=put(CLEAN.scores, [5, 8], CLEAN.scores[3])), "equal scores"),
        (
            replace(CLEAN, sources=put(CLEAN.sources, [3, 5, 8], "f"), spans=put(CLEAN.spans, [3, 5, 8], [[0, 7], [6, 9], [np.nan, 1]])),
            "overlap",
        ),
        (replace(CLEAN, groups={"skater": put(CLEAN.groups["skater"], [3, 5, 8], "x")}), "group skater"),
    ):  # fmt: skip
        assert found(changed) == {kind: {"v5": "v3", "v8": "v3"}}, kind
        (leak,) = leaks(changed, PARTS, PARTS == 2)
        assert (
            leak.line.startswith(("2 test videos ", "2 of 20 test videos share their skater"))
            and "(v5 = v3, v8 = v3)" in leak.line
        )
        assert leak.to_dict() == {"kind": kind, "count": 2, "of": 20, "examples": [["v5", "v3"], ["v8", "v3"]]}
        # In one part, or taking no part.
        assert found(changed, np.where(np.isin(np.arange(NUMBER), [3, 5, 8]), 2, PARTS)) == {} or kind == "group skater"
        assert found(changed, put(PARTS, [5, 8], -1)) == {}


def test_an_identical_video_is_listed_once():
    same = replace(
        CLEAN,
        **{
            name: put(getattr(CLEAN, name), 5, getattr(CLEAN, name)[3])
            for name in ("means", "scores", "sources", "spans")
        },
    )
    assert set(found(same)) == {"near-identical", "equal scores", "overlap"}
    assert set(found(replace(same, contents=[put(CLEAN.contents[0], 5, "sum 3")]))) == {"identical"}


def test_videos_that_are_all_alike_are_no_copies():
    """Features of random weights: nearly one direction for all videos."""
    direction = RNG.normal(size=32)
    alike = np.outer(np.linspace(-1, 1, NUMBER), direction) + RNG.normal(size=(NUMBER, 32)) * 0.01
    assert found(replace(CLEAN, means=alike)) == {}
    assert found(replace(CLEAN, means=np.zeros((NUMBER, 32)))) == {}


def test_scores_that_chance_makes_equal_say_nothing():
    coarse = np.stack([np.arange(NUMBER) % 7, np.arange(NUMBER) % 5], 1).astype(float)
    assert found(replace(CLEAN, scores=coarse)) == {}
    assert found(replace(CLEAN, scores=put(CLEAN.scores, [3, 5], np.nan))) == {}, "missing scores are not equal"
    assert found(replace(CLEAN, scores=np.zeros((NUMBER, 0)))) == {}


def test_scores_that_only_training_videos_have_are_not_compared():
    """Fis-V's table has the elements of its training videos."""
    extra = np.where(PARTS == 2, np.nan, np.arange(NUMBER))[:, None]
    planted = np.hstack([put(CLEAN.scores, 5, CLEAN.scores[3]), extra])
    assert set(found(replace(CLEAN, scores=planted))) == {"equal scores"}


@pytest.mark.parametrize("name", ["fisv", "rg", "mtl-aqa"])
def test_scores_of_the_shipped_tables_are_quiet(name):
    rows = find_manifest(name).rows
    names = find_manifest(name).score_names
    blank = np.full(len(rows), "", dtype=object)
    videos = AuditedVideos(
        [row.video_id for row in rows], np.zeros((len(rows), 1)), [], blank, np.full((len(rows), 2), np.nan),
        np.array([[row.scores.get(one, np.nan) for one in names] for row in rows]),
        {one: np.array([row.groups[one] for row in rows], dtype=object) for one in find_manifest(name).group_names},
    )  # fmt: skip
    tested = np.array([row.split == "test" for row in rows])
    found = leaks(videos, tested.astype(int), tested)
    groups = {
        "fisv": {"group skater", "group event"},
        "rg": set(),
        "mtl-aqa": {"group dive", "group difficulty", "group event"},
    }
    assert {leak.kind for leak in found} == groups[name]
    if name == "fisv":
        assert {leak.kind: len(leak.pairs) for leak in found} == {"group skater": 87, "group event": 100}


def test_real_features_are_quiet_and_their_copies_are_found(shared):
    files = sorted((shared / "data/fisv/swintx_avg_fps25_clip32").glob("*.npy"))[::4]
    clips = [np.load(file).astype(np.float32) for file in files]
    number = len(clips)
    blank = np.full(number, "", dtype=object)

    def near(means):
        videos = AuditedVideos(
            [file.stem for file in files], means, [], blank, np.full((number, 2), np.nan), np.zeros((number, 0))
        )
        return leaks(videos, np.arange(number) % 2)

    means = np.stack([one.mean(0) for one in clips])
    assert near(means) == []
    (leak,) = near(put(means, 1, clips[0][::2].mean(0)))
    assert leak.kind == "near-identical" and leak.pairs == {files[0].stem: files[1].stem, files[1].stem: files[0].stem}


def test_the_command(tmp_path):
    ids = tuple(f"v{n}" for n in range(12))
    splits = ("train",) * 6 + ("test",) * 5 + ("",)
    scores = RNG.uniform(0, 40, (12, 2))
    groups = {"skater": tuple(f"s{n}" for n in range(11)) + ("s0",)}
    videos = []
    for number, name in enumerate(ids):
        features = RNG.normal(size=(4, 6)).astype(np.float32)
        record = VideoRecord(name, source_sha256=f"f{number}", span_start_seconds=2.0, span_end_seconds=5.0)
        videos.append(VideoFeatures(record, features, np.arange(4.0), np.arange(4.0) + 1))

    def store(name, videos=videos, **labels):
        table = replace(Labels(ids, splits, ("",) * 12, ("a", "b"), scores, groups=groups), **labels)
        write_store(tmp_path / name, dataset="d", card=None, labels=table, streams=[plan(header(dim=6), videos)])
        return tmp_path / name

    assert "0 kinds of leaks" in run("audit", store("clean.h5"))
    overlapping = [*videos]
    overlapping[7] = replace(
        videos[7], record=replace(videos[7].record, source_sha256="f1", span_start_seconds=4.0, span_end_seconds=9.0)
    )
    shared_skater = {"skater": ("s7", *groups["skater"][1:])}
    output = run("audit", store("leaky.h5", overlapping, groups=shared_skater), "--json", status=1)
    assert {leak["kind"]: leak["examples"] for leak in json.loads(output)["leaks"]} == {
        "overlap": [["v7", "v1"]], "group skater": [["v7", "v0"]],
    }  # fmt: skip
    twice = [*videos[:-1], replace(videos[-1], features=videos[0].features)]
    assert "0 kinds" in run("audit", store("unused.h5", twice)), "a video of no split is not used where others have one"
    assert "byte-identical" in run("audit", store("none.h5", twice, splits=("",) * 12), status=1)
