"""MUSDL: judges' distributions and the rules of sports against plain numpy, and that cards say what the rules are."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy.stats import norm

from longtake.errors import ManifestError
from longtake.features.content import StreamItem, StreamPlan
from longtake.features.labels import Labels
from longtake.features.store import open_store, write_store
from longtake.features.types import VideoFeatures, VideoRecord
from longtake.manifests.card import Card, find_card, load_card
from longtake.manifests.table import find_manifest
from longtake.train.cli import main
from longtake.train.data.dataset import ScoreScale
from longtake.train.errors import SettingsError
from longtake.train.heads.musdl import MUSDL, MUSDLSettings
from longtake.train.protocol.settings import card_settings
from tests.train.heads.goldens import batch_of, check_gradients, evaluated, golden_store, load, numbers_of, tensors
from tests.train.heads.kit import make_batch, make_head
from tests.train.planted import planted_store


def call(*arguments, status=0):
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == status, done.output
    return done.output


def of_card(dataset, **settings):
    card = find_card(dataset)
    stated = card.scores["total"]
    facts = card_settings(card, ScoreScale("total", stated.minimum, stated.maximum, True), MUSDLSettings)
    return MUSDL(4, MUSDLSettings(**facts, **settings)), facts


def rows_of(dataset, names):
    return np.array([[row.scores[name] for name in names] for row in find_manifest(dataset).rows])


@pytest.mark.parametrize("dataset, exact", [("mtl-aqa", 1385 / 1412), ("jigsaws", 1.0)])
def test_the_rule_of_the_card_makes_the_scores_of_the_table(dataset, exact):
    head, facts = of_card(dataset)
    needs = head.needs(head.settings)
    scores = torch.tensor(rows_of(dataset, needs.columns), dtype=torch.float32)
    stated = find_card(dataset).scores["total"]
    made = head.ruled01(head.judged01(scores), scores).numpy() * (stated.maximum - stated.minimum) + stated.minimum
    true = rows_of(dataset, ["total"])[:, 0]
    # What is left are scores that do not follow from the judges of the label file.
    assert np.mean(np.abs(made - true) < 0.06) == pytest.approx(exact, abs=1e-3)
    assert facts["drop"] == (2 if dataset == "mtl-aqa" else 0) and needs.scores == (
        ("difficulty",) if dataset == "mtl-aqa" else ()
    )


def test_diving_by_hand():
    head, _ = of_card("mtl-aqa")
    judges, difficulty = np.array([9.5, 9, 9.5, 9, 8.5, 9.5, 8.5]), 3.2
    scores = torch.tensor([[difficulty, *judges]], dtype=torch.float32)
    expected = sum(sorted(judges)[2:5]) * difficulty / 104.5
    assert float(head.ruled01(head.judged01(scores), scores)) == pytest.approx(expected, abs=1e-5)


def test_judges_times_difficulty_are_learnt_where_it_is_not_known():
    head, _ = of_card("mtl-aqa", known=False)
    needs = head.needs(head.settings)
    assert needs.scores == () and needs.targets[0] == "difficulty" and len(needs.targets) == 8
    scores = torch.tensor(rows_of("mtl-aqa", needs.columns), dtype=torch.float32)
    known, _ = of_card("mtl-aqa")
    np.testing.assert_allclose(
        head.ruled01(head.judged01(scores), None), known.ruled01(known.judged01(scores), scores), atol=1e-5
    )


def test_the_loss_of_all_judges():
    head, batch = make_head("musdl").train(), make_batch([6, 9, 4])
    output = head(batch)
    features = [batch.clips[row, :length].mean(0, keepdim=True) for row, length in enumerate([6, 9, 4])]
    terms = []
    for row in range(3):
        for judge, path in enumerate(head.paths):
            label = norm.pdf(np.arange(21), loc=float(batch.scores[row, 1 + judge]) * 2, scale=5)
            label /= label.sum()
            p = torch.softmax(path(features[row]), -1).detach().numpy()[0]
            terms.append((label * np.log(label / p)).sum())
    assert float(output.losses["distribution"].detach()) == pytest.approx(np.sum(terms) / 3, abs=1e-5)


@pytest.mark.parametrize("bins, sigma", [(21, 5.0), (5, 1.0)])
def test_a_distribution_that_is_the_label_says_its_score(bins, sigma):
    head = MUSDL(4, MUSDLSettings(judges="a", bins=bins, sigma=sigma))
    for value in np.linspace(0, 1, 23):
        label = norm.pdf(np.arange(bins), loc=value * (bins - 1), scale=sigma)
        label = torch.tensor(label / label.sum(), dtype=torch.float32)
        assert float(head.read01(label[None, None])) == pytest.approx(value, abs=1e-3)
    mode = MUSDL(4, MUSDLSettings(judges="a", bins=bins, sigma=sigma, read="mode"))
    assert float(mode.read01(label[None, None])) == 1.0


def test_what_cannot_be(tmp_path):
    with pytest.raises(SettingsError, match="name them with --set judges=NAME"):
        MUSDL.needs(MUSDLSettings())
    with pytest.raises(SettingsError, match="of 2 judges, drop=1 at both ends leaves none"):
        MUSDLSettings(judges="a,b", drop=1)
    with pytest.raises(SettingsError, match="read takes one of expectation, mode, got 'mod'"):
        MUSDLSettings(judges="a", read="mod")
    assert Card.from_json(find_card("jigsaws").to_json()) == find_card("jigsaws")
    source = """
name = "x"
title = "x"
authors = "x"
citation = "x"
source = "x"
licence = "x"
splits = ["train"]
where_videos = "x"
where_labels = "x"
[scores.total]
title = "x"
minimum = 0
maximum = 1
judges = ["total", "nothing"]
drop = 1
times = "nothing"
"""
    (tmp_path / "x.toml").write_text(source)
    with pytest.raises(ManifestError) as error:
        load_card(tmp_path / "x.toml")
    for fault in (
        "made of 'nothing', which is not a score",
        "made of 'nothing'",
        "of 2 judges, drop 1 at both ends leaves none",
    ):
        assert fault in str(error.value)


def test_judges_and_difficulty_from_a_store(tmp_path):
    """SIMULATED: five judges who err, a difficulty that clips do not show. What multiplies is needed of new videos, judges are not."""
    path = planted_store(
        tmp_path / "s.h5",
        num_train=64,
        num_test=32,
        difficulties=(1.5, 2.5, 3.5),
        judges=5,
        top=30,
        with_text=False,
        noise=0.5,
    )
    rule = [
        f"--set={value}"
        for value in ("judges=judge1,judge2,judge3,judge4,judge5", "drop=1", "times=difficulty", "width=32")
    ]
    run = (
        "heads",
        "--features",
        path,
        "--head",
        "musdl",
        "--score",
        "total",
        *rule,
        "--epochs",
        60,
        "--lr",
        0.003,
        "--no-floor",
    )
    call(*run, "--out", tmp_path / "run", "--quiet")
    (row,) = json.loads((tmp_path / "run" / "metrics.json").read_text())["table"]
    assert row["spearman"] > 0.9
    with open_store(path) as store:
        stream, video = store.stream(), store.stream().read("A_070")
        place = store.labels.video_ids.index("A_070")
        difficulty = store.labels.scores[place, store.labels.score_names.index("difficulty")]
    fresh = VideoFeatures(VideoRecord("new"), video.features, video.start_seconds, video.end_seconds)
    for names, values in ((("difficulty",), [[difficulty]]), ((), np.zeros((1, 0)))):
        plan = StreamPlan(stream.header, np.dtype("f4"), [StreamItem(fresh.record, len(fresh.features), lambda: fresh)])
        labels = Labels(("new",), ("",), ("A",), names, np.array(values))
        write_store(tmp_path / "new.h5", dataset="planted", card=None, labels=labels, streams=[plan])
        done = ("predict", "--run", tmp_path / "run", "--features", tmp_path / "new.h5", "--json")
        if names:
            (new,) = json.loads(call(*done))
            (known,) = json.loads(
                call("predict", "--run", tmp_path / "run", "--features", path, "--only", "A_070", "--json")
            )
            assert new["predicted"] == pytest.approx(known["predicted"], abs=1e-4)
        else:
            assert "the head needs the score 'difficulty', which the store lacks" in call(*done, status=2)
    out = call("heads", "--features", path, "--head", "musdl", "--score", "total", "--out", tmp_path / "no", status=2)
    assert "no card says which these are" in out and not (tmp_path / "no").exists()


RULE = {"judges": "a,b,c,d,e,f,g", "drop": 2, "times": "difficulty"}


@pytest.fixture
def numbers(shared):
    return numbers_of(shared, "musdl")


@pytest.mark.parametrize("per_bin, loss", [(True, "train/loss"), (False, "train/loss_batchmean")])
def test_published_outputs_loss_and_gradients(numbers, per_bin, loss):
    settings = MUSDLSettings(**RULE, dropout=0.0, read="mode", per_bin=per_bin)
    head = load(MUSDL(48, settings), tensors(numbers, "weight/")).train()
    scores = np.concatenate([numbers["difficulty"][:, None], numbers["judge_scores"]], 1)
    output = head(batch_of(numbers["clips"], np.zeros(5), scores=torch.from_numpy(scores)))
    np.testing.assert_allclose(output.score01, numbers["train/output"], atol=1e-5)
    assert float(output.losses["distribution"].detach()) == pytest.approx(float(numbers[loss]), abs=1e-5)
    output.losses["distribution"].backward()
    norms = head.from_published(tensors(numbers, "grad_norm/"))
    check_gradients(head, {name: norm * (1 if per_bin else 21) for name, norm in norms.items()})


def test_import_and_evaluate(numbers, tmp_path):
    scores = {"total": numbers["eval/score"], "difficulty": numbers["difficulty"]}
    scores |= dict(zip("abcdefg", numbers["judge_scores"].T))
    store = golden_store(tmp_path / "golden.h5", {"video": numbers["clips"]}, scores)
    words = [word for name, value in RULE.items() for word in ("--set", f"{name}={value}")]
    predicted = evaluated(tmp_path, tensors(numbers, "weight/"), "musdl", store, *words)
    np.testing.assert_allclose(predicted, numbers["eval/score"], atol=1e-4)


@pytest.mark.parametrize("judges, bins, published", [("a,b,c,d,e,f,g", 21, 2_086_035), ("a,b,c,d,e,f", 5, 1_775_646)])
def test_the_published_number_of_parameters(judges, bins, published):
    assert sum(one.numel() for one in MUSDL(1024, MUSDLSettings(judges=judges, bins=bins)).parameters()) == published
