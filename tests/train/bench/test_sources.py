"""What a store must be for a bench, and what is kept of it."""

from dataclasses import replace

import numpy as np
import pytest

from longtake.features.store import open_store
from longtake.manifests.card import find_card
from longtake.train.bench.file import HeadEntry, read_bench
from longtake.train.bench.run import sources_of
from longtake.train.bench.sources import card_id, labels_id, read_source, read_sources, texts_id, write_sources
from longtake.train.errors import DataError
from tests.train.bench.benches import bench_file
from tests.train.planted import planted_store, with_headers


def source_of(made, **changes):
    return read_source(replace(read_bench(made.file).datasets["planted"], **changes), made.store)


def test_the_hash_of_labels(made):
    with open_store(made.store) as store:
        labels = store.labels
    same, other = labels.scores.copy(), labels.scores.copy()
    other[0, 0] += 0.5
    assert labels_id(replace(labels, scores=same)) == labels_id(labels) == source_of(made).labels
    assert labels_id(replace(labels, scores=other)) != labels_id(labels)
    assert labels_id(replace(labels, splits=("test",) * len(labels))) != labels_id(labels)


def test_another_store_is_refused_with_all_reasons(made):
    (stream,) = source_of(made).streams
    with pytest.raises(DataError) as error:
        source_of(made, dataset="rg", labels="0" * 16, recipes={stream: "1" * 16}, within="skater")
    for part in ("holds the dataset planted", "its labels have the hash", "are of recipe", "no group 'skater'"):
        assert part in str(error.value), part
    assert source_of(made, labels=source_of(made).labels).entry.dataset == "planted"


def test_a_stream_that_the_store_lacks(made):
    source = source_of(made, streams=("vst",))
    assert source.streams["vst"].recipe_id == ""


def test_a_folder_without_a_bench(tmp_path):
    with pytest.raises(DataError, match="holds no bench"):
        read_sources(tmp_path)
    (tmp_path / "sources.json").write_text('{"a": {"path": 1}}')
    with pytest.raises(DataError, match="entry is missing"):
        read_sources(tmp_path)


def test_group_hash_is_that_of_the_split(made):
    source = replace(source_of(made), groups={"skater": {"a": "s1"}, "event": {"a": "e1"}})
    split = read_bench(made.file).splits["random"]
    (backbone,), head = source.streams, HeadEntry(name="ridge")
    assert source.stamp(backbone, split, head).groups == ""
    by_skater = source.stamp(backbone, replace(split, group="skater"), head).groups
    assert by_skater and by_skater != source.stamp(backbone, replace(split, group="event"), head).groups


def test_what_heads_read_in_addition(tmp_path):
    """Sound, texts and groups are part of what a cell has learnt from, for the heads that read them alone."""
    headers = lambda header: [header, replace(header, backbone="heard", modality="audio")]  # noqa: E731
    plain = planted_store(tmp_path / "plain.h5", num_train=4, num_test=2, groups={"skater": 3})
    store = with_headers(tmp_path / "s.h5", plain, headers)
    text = """
title = "Reads"
[datasets.planted]
features = "{store}"
[splits.official]
[heads.ridge]
[heads.heard]
head = "gdlt"
audio = "heard"
[heads.gslm]
text = "qgvl"
[heads.metadata]
"""
    bench = read_bench(bench_file(tmp_path, store, text))
    source = sources_of(bench, [])["planted"]
    assert list(source.others) == ["heard"] and list(source.texts) == ["qgvl"]
    further = {name: source.further_id(entry) for name, entry in bench.heads.items()}
    assert further["ridge"] == "" and len(set(further.values())) == 4
    write_sources(tmp_path, {"planted": source})
    assert read_sources(tmp_path)["planted"] == source
    other = replace(source.others["heard"], features="other")
    changes = {
        "heard": {"others": {"heard": other}},
        "gslm": {"texts": {"qgvl": "other"}},
        "metadata": {"groups": {**source.groups, "event": {"A_000": "e"}}},
    }
    for changed, change in changes.items():
        found = {name: replace(source, **change).further_id(entry) for name, entry in bench.heads.items()}
        assert [name for name in found if found[name] != further[name]] == [changed]


def test_the_hash_of_a_card():
    """Of what changes what is learnt, not of what is said."""
    card = find_card("fisv")
    ranges = {**card.scores, "tes": replace(card.scores["tes"], maximum=99)}
    assert card_id(card) == card_id(replace(card, title="Another")) != card_id(replace(card, scores=ranges))
    assert len({card_id(card), card_id(None), card_id(replace(card, window_clips=7))}) == 3


def test_the_hash_of_texts(tmp_path):
    with open_store(planted_store(tmp_path / "s.h5", num_train=4, num_test=2)) as store:
        (text,) = store.texts
    same, other = replace(text), replace(text, features=text.features + np.float32(1))
    assert texts_id([text]) == texts_id([same]) != texts_id([other])
    assert texts_id([replace(text, texts=("another", *text.texts[1:]))]) != texts_id([text])
