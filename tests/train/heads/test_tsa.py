"""TSA's stages and comparisons against plain numpy, and the head from a store with boundaries to predictions."""

import csv
import json
from dataclasses import replace
from math import erf

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy.special import softmax

from longtake.features.content import StreamItem, StreamPlan
from longtake.features.labels import Labels
from longtake.features.store import write_store
from longtake.features.types import FeatureHeader, VideoFeatures, VideoRecord
from longtake.train.cli import main
from longtake.train.errors import DataError, SettingsError
from longtake.train.heads.blocks.segmentation import Grid, frame_grid
from longtake.train.heads.tsa import TSA, CrossAttention, TSASettings, equal_parts, stage_points
from tests.train.heads.goldens import check_gradients, compared, evaluated, norms, numbers_of, pair_store, tensors
from tests.train.heads.kit import arrays_of, layer_norm, make_batch, make_head

RNG = np.random.default_rng(6)


def call(*arguments, status=0):
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == status, done.output
    return done.output


def grid_of(lengths):
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    return Grid(mask, torch.zeros(*mask.shape, 2))


def test_points_of_stages():
    lengths, index = [12, 7], [[3, 4], [1, 6]]
    frames = RNG.normal(size=(2, 12, 3))
    found = stage_points(torch.tensor(frames), grid_of(lengths), torch.tensor(index), 5).numpy()
    for row, (length, bounds) in enumerate(zip(lengths, index)):
        edges = [0, *bounds, length]
        for stage, (begin, end) in enumerate(zip(edges, edges[1:])):
            at = np.linspace(begin, end - 1, 5)
            for column in range(3):
                expected = np.interp(at, np.arange(12), frames[row, :, column])
                np.testing.assert_allclose(found[row, stage, :, column], expected, atol=1e-5)


def test_equal_parts():
    assert equal_parts(grid_of([12, 7, 3]), 3).tolist() == [[4, 8], [2, 4], [1, 2]]


def test_cross_attention():
    torch.manual_seed(0)
    layer = CrossAttention(8, 2, 0.5).eval()
    w = arrays_of(layer)
    mine, theirs = RNG.normal(size=(3, 5, 8)), RNG.normal(size=(3, 5, 8))
    expected = []
    for x, y in zip(mine, theirs):
        asking = layer_norm(x, w["query_norm.weight"], w["query_norm.bias"])
        asked = layer_norm(y, w["key_norm.weight"], w["key_norm.bias"])
        w_in, b_in = w["attention.in_proj_weight"], w["attention.in_proj_bias"]
        q, k, v = (
            s @ w_in[8 * i : 8 * i + 8].T + b_in[8 * i : 8 * i + 8] for i, s in enumerate((asking, asked, asked))
        )
        heads = [softmax(q[:, h] @ k[:, h].T / 2, -1) @ v[:, h] for h in (slice(0, 4), slice(4, 8))]
        x = x + np.concatenate(heads, -1) @ w["attention.out_proj.weight"].T + w["attention.out_proj.bias"]
        hidden = layer_norm(x, w["norm.weight"], w["norm.bias"]) @ w["mlp.0.weight"].T + w["mlp.0.bias"]
        hidden = np.vectorize(lambda z: 0.5 * z * (1 + erf(z / 2**0.5)))(hidden)
        expected.append(x + hidden @ w["mlp.3.weight"].T + w["mlp.3.bias"])
    with torch.no_grad():
        found = layer(torch.tensor(mine, dtype=torch.float32), torch.tensor(theirs, dtype=torch.float32))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_scores_are_exemplars_scores_and_the_mean_difference_of_stages():
    head, batch = make_head("tsa", frames=24).eval(), make_batch([6, 9, 4])
    with torch.no_grad():
        stages, theirs = (one.points for one in head.segment((batch, batch.exemplar)))
        scores = []
        for row, places in enumerate(batch.voters.tolist()):
            votes = []
            for place in (p for p in places if p >= 0):
                differences = []
                for stage in range(3):
                    mine, other = stages[row, stage][None], theirs[place, stage][None]
                    for layer in head.layers:
                        mine = layer(mine, other)
                    differences.append(float(head.difference(mine).mean()))
                votes.append(float(batch.exemplar.target01[place]) + np.mean(differences))
            scores.append(np.mean(votes))
        np.testing.assert_allclose(head(batch).score01, scores, atol=1e-5)


def test_where_stages_begin():
    batch = make_batch([6, 9, 4])
    moved = replace(batch, boundaries=torch.tensor([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]))
    for boundaries in ("predicted", "true", "fixed"):
        head = make_head("tsa", frames=90, boundaries=boundaries)
        with torch.no_grad():
            first, second = head.eval()(batch), head.eval()(moved)
        # Only the oracle looks at the labels of tested videos.
        assert torch.equal(first.score01, second.score01) == (boundaries != "true")
        assert (first.boundaries is None) == (boundaries == "fixed")
        losses = head.train()(batch).losses
        assert ("boundaries" in losses) == (boundaries != "fixed") and losses["comparison"] > 0
        assert head.needs(head.settings).boundaries == (0 if boundaries == "fixed" else 2)
    with pytest.raises(
        SettingsError, match="boundaries takes one of predicted, true, fixed, got 'predicte'; did you mean"
    ):
        TSASettings(boundaries="predicte")
    with pytest.raises(SettingsError, match="stages must be 2 or more, and frames as many, got 1 and 96"):
        TSASettings(stages=1)


def staged_store(path, *, num_train=96, num_test=48, boundaries=True, cuts=lambda two: two):
    """SIMULATED: three stages of other lengths in each video, each with a direction of its own; the quality of the second moves its clips
    along a fourth direction, and a fifth, of all clips alike, means nothing."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(16, 16)))[0].T
    header = FeatureHeader("planted", "video", 16, "planted", None, False, 16, 16, "pad", 25.0)
    items, ids, ends_of_all, qualities = [], [], [], []
    for number in range(num_train + num_test):
        ends = np.sort(rng.choice(np.arange(4, 17), 2, replace=False)) if rng.uniform() < 2 else None
        while ends[1] - ends[0] < 3:
            ends = np.sort(rng.choice(np.arange(4, 17), 2, replace=False))
        quality, stage = rng.uniform(), np.searchsorted(ends, np.arange(20), side="right")
        table = 0.3 * rng.normal(size=(20, 16)) + 3 * basis[stage] + 2 * rng.normal() * basis[4]
        table[stage == 1] += (4 * quality - 2) * basis[3]
        times = np.arange(20.0)
        video = VideoFeatures(VideoRecord(f"v{number:03d}"), table.astype(np.float32), times, times + 1)
        items.append(StreamItem(video.record, 20, lambda video=video: video))
        ids.append(f"v{number:03d}")
        ends_of_all.append(ends.astype(float))
        qualities.append([10 * quality])
    count = len(ids)
    labels = Labels(
        tuple(ids), ("train",) * num_train + ("test",) * num_test, ("dive",) * count, ("total",), np.array(qualities),
        **({"boundaries": cuts(np.array(ends_of_all))} if boundaries else {}),
    )  # fmt: skip
    write_store(path, dataset="planted", card=None, labels=labels, streams=[StreamPlan(header, np.dtype("f4"), items)])
    return path


def test_from_a_store_to_predictions(tmp_path):
    """SIMULATED stages: found in videos that are tested, and the one that matters is compared."""
    path = staged_store(tmp_path / "s.h5")
    out = tmp_path / "run"
    call("heads", "--features", path, "--head", "tsa", "--epochs", 20, "--set", "width=16", "--set", "frames=30", "--no-floor",
         "--evaluate-every", 20, "--lr", 0.004, "--set", "voters=5", "--out", out, "--quiet")  # fmt: skip
    (row,) = json.loads((out / "metrics.json").read_text())["table"]
    assert row["spearman"] > 0.9
    with (out / "predictions.csv").open() as file:
        saved = {line["video_id"]: float(line["predicted"]) for line in csv.DictReader(file)}
    (evaluated,) = json.loads(call("evaluate", "--run", out, "--features", path, "--json"))
    for video_id, predicted in evaluated["predicted"].items():
        assert predicted == pytest.approx(saved[video_id], abs=1e-3)
    bare = staged_store(tmp_path / "bare.h5", boundaries=False)
    # New videos need no boundaries, training does.
    for one in json.loads(
        call("predict", "--run", out, "--features", bare, "--only", "v100", "--only", "v120", "--json")
    ):
        assert one["predicted"] == pytest.approx(saved[one["video_id"]], abs=1e-3)
    assert "learns 2 boundaries of stages" in call("heads", "--features", bare, "--head", "tsa", status=2)
    call(
        "heads",
        "--features",
        bare,
        "--head",
        "tsa",
        "--set",
        "boundaries=fixed",
        "--epochs",
        1,
        "--set",
        "width=16",
        "--out",
        tmp_path / "e",
    )


def test_a_store_with_other_boundaries(tmp_path):
    """Tested videos with more or fewer stages than the head knows count as videos without labelled stages. A column without values
    changes nothing."""
    made, out = {"num_train": 16, "num_test": 8}, tmp_path / "run"
    path = staged_store(tmp_path / "two.h5", **made)
    call("heads", "--features", path, "--head", "tsa", "--set", "boundaries=true", "--set", "frames=24", "--set", "width=16",
         "--epochs", 1, "--no-floor", "--out", out)  # fmt: skip

    def evaluated(store):
        (row,) = json.loads(call("evaluate", "--run", out, "--features", store, "--json"))
        return row["predicted"], row["metrics"]["aiou_50"]

    (true, aiou), (predicted, nothing) = (
        evaluated(path),
        evaluated(staged_store(tmp_path / "none.h5", boundaries=False, **made)),
    )
    assert true != predicted and aiou is not None and nothing is None
    for name, cuts, expected in (
        ("one", lambda two: two[:, :1], (predicted, None)),
        ("three", lambda two: np.column_stack([two, two[:, 1] + 1]), (predicted, None)),
        ("unused", lambda two: np.column_stack([two, np.full(len(two), np.nan)]), (true, aiou)),
    ):
        assert evaluated(staged_store(tmp_path / f"{name}.h5", cuts=cuts, **made)) == expected


PUBLISHED = {
    "segmentation": "channels", "bias": False, "score_range": 1.0, "score_maximum": 100.0, "comparison_weight": 1.0,
    "boundary_weight": 0.5, "boundary_mean": True,
}  # fmt: skip


@pytest.fixture
def numbers(shared):
    return numbers_of(shared, "tsa")


def golden(numbers, **settings):
    """The head, and a batch of 9 s in which frames are 96 parts."""
    head = TSA(1024, TSASettings(**PUBLISHED, **settings))
    head.load_state_dict(head.state_dict() | head.from_published(tensors(numbers, "weight/")))
    batch = compared(numbers, 100.0)
    times = torch.arange(10.0)
    seconds = torch.stack([times[:-1], times[1:]], -1).expand(3, -1, -1)

    def timed(one, name):
        return replace(one, seconds=seconds, boundaries=torch.from_numpy(numbers[f"{name}_transitions"]) / 96 * 9)

    return head, replace(timed(batch, "query"), exemplar=timed(batch.exemplar, "exemplar"))


def published_maps(head, numbers):
    """Frames of both videos at the four places of the published maps, `(3, frames, width x places)` each, axes reshaped as published."""
    maps = torch.cat([torch.from_numpy(numbers[f"{name}_map"]) for name in ("query", "exemplar")])
    frames = maps.reshape(-1, 9, 1024)
    for index, block in enumerate(head.segmentation.blocks):
        frames = block(torch.nn.functional.max_pool1d(frames, 2) if index else frames)
    return frames.reshape(6, 96, -1).split(3)


def published_scores(head, batch, numbers, labelled):
    """Differences both ways of the published module, whose keys are the places of maps, and the loss of boundaries."""
    s = head.settings
    stages = head.segment((batch, batch.exemplar))
    tokens, indices = [], []
    found = head.segmentation((batch, batch.exemplar))
    for one, frames, seen in zip((batch, batch.exemplar), published_maps(head, numbers), found):
        grid = frame_grid(one, s.frames)
        index = grid.true_or_predicted(seen, one.boundaries) if labelled else seen.index
        points = stage_points(frames, grid, index, s.points)
        tokens.append(points.unflatten(-1, (s.width, 4)).transpose(3, 4).flatten(2, 3))
        indices.append(stage_points(seen.frames, grid, index, s.points))
    better, back = head.compare(indices[0], tokens[1]), head.compare(indices[1], tokens[0])
    return better, back, (stages[0].loss + stages[1].loss) / 2, found


def test_published_segmentation_and_scores(numbers):
    head, batch = golden(numbers)
    head.eval()
    with torch.no_grad():
        better, _, _, found = published_scores(head, batch, numbers, labelled=False)
        labelled, *_ = published_scores(head, batch, numbers, labelled=True)
    np.testing.assert_allclose(torch.cat([one.frames for one in found]), numbers["eval/frames"], atol=1e-5)
    confident = torch.cat([one.logits for one in found]).sigmoid()
    np.testing.assert_allclose(confident, numbers["eval/transition_probability"], atol=1e-5)
    np.testing.assert_allclose(better + torch.from_numpy(numbers["exemplar_score"]), numbers["eval/score"], atol=1e-4)
    true = numbers["eval/score_true_transitions"]
    np.testing.assert_allclose(labelled + torch.from_numpy(numbers["exemplar_score"]), true, atol=1e-4)


@pytest.mark.parametrize("labelled, which, suffix", [(True, "train", ""), (False, "train_late", "_late")])
def test_published_losses_and_gradients(numbers, labelled, which, suffix):
    head, batch = golden(numbers)
    head.train()
    better, back, boundaries, _ = published_scores(head, batch, numbers, labelled)
    true = torch.from_numpy(numbers["query_score"] - numbers["exemplar_score"])
    np.testing.assert_allclose(
        better.detach() + torch.from_numpy(numbers["exemplar_score"]), numbers[f"{which}/output"], atol=1e-4
    )
    loss = torch.nn.functional.mse_loss(better, true) + torch.nn.functional.mse_loss(back, -true) + boundaries
    assert float(loss.detach()) == pytest.approx(float(numbers[f"{which}/loss"]), rel=1e-6)
    loss.backward()
    prefix = f"grad_norm{suffix}/"
    expected = norms(head, numbers, prefix)
    for layer in range(3):
        parts = [numbers[f"{prefix}decoder.model.{layer}.attn.{one}_map.weight"] for one in "qkv"]
        expected[f"layers.{layer}.attention.in_proj_weight"] = torch.tensor(np.linalg.norm(parts))
    # A batch norm takes the shift of these biases away again: their gradients are rounding.
    shifts = {
        name for name in expected if name.startswith("segmentation.blocks") and name.endswith(("0.bias", "3.bias"))
    }
    parameters = dict(head.named_parameters())
    assert len(shifts) == 10 and all(float(parameters[name].grad.norm()) < 1e-3 for name in shifts)
    check_gradients(head, {**expected, **{name: parameters[name].grad.norm() for name in shifts}})


def test_losses_are_those_of_the_settings(numbers):
    """With one place a clip, comparisons are in judges' units and the boundaries' loss is the mean over both videos."""
    head, batch = golden(numbers)
    output = head.train()(batch)
    with torch.no_grad():
        query, exemplar = head.segment((batch, batch.exemplar))
        better, back = head.compare(query.points, exemplar.points), head.compare(exemplar.points, query.points)
    true = torch.from_numpy(numbers["query_score"] - numbers["exemplar_score"])
    both = torch.nn.functional.mse_loss(better, true) + torch.nn.functional.mse_loss(back, -true)
    assert float(output.losses["comparison"].detach()) == pytest.approx(float(both), rel=1e-5)
    assert float(output.losses["boundaries"].detach()) == pytest.approx(
        float(numbers["train/loss_transitions"]), abs=1e-5
    )


def test_import_and_evaluate(numbers, tmp_path):
    """Of vectors, which are maps of one place. The store's stages have no labels, so the head finds them."""
    store = pair_store(tmp_path / "golden.h5", numbers)
    predicted = evaluated(tmp_path, tensors(numbers, "weight/"), "tsa", store)[:3]
    head, batch = golden(numbers)
    with torch.no_grad():
        expected = head.eval()(batch).score01 * 100
    np.testing.assert_allclose(predicted, expected, atol=1e-4)


def test_the_published_number_of_parameters():
    head = TSA(1024, TSASettings(**PUBLISHED))
    assert sum(one.numel() for one in head.parameters()) == 311_759


def test_published_segmentation_takes_one_number_of_clips(numbers):
    head, batch = golden(numbers)
    with pytest.raises(DataError, match="takes videos of 9 clips"):
        head(replace(batch, clips=batch.clips[:, :8], mask=batch.mask[:, :8], seconds=batch.seconds[:, :8]))
    with pytest.raises(SettingsError, match="takes width=64 for clips of 1024 values, got 32"):
        TSA(1024, TSASettings(width=32, segmentation="channels"))
