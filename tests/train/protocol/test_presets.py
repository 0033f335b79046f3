"""The presets against the papers and their code."""

import pytest

from longtake.train.data.prompts import PrototypeSettings
from longtake.train.engine.settings import TrainSettings
from longtake.train.heads import TABLE, get_head
from longtake.train.protocol.settings import build_settings

# Of ../shared/papers/FACTS.md, where nothing else is named.
COMMON = {"weight_decay": 1e-4, "final_lr_ratio": 0.01, "dropout": 0.3, "triplet": "batch_hard", "margin": 1.0}
SGD = {"optimizer": "sgd", "lr": 1e-2, "momentum": 0.9, "batch_size": 32}
GDLT = {**COMMON, **SGD, "width": 256, "heads": 1, "encoder_layers": 1, "decoder_layers": 2, "grades": 4, "mse_weight": 1,
        "triplet_weight": 1, "ce_weight": 0, "warmup_epochs": 0, "test_window": "whole"}  # fmt: skip
QGVL = {**COMMON, **SGD, "width": 512, "heads": 1, "encoder_layers": 1, "decoder_layers": 2, "scores": 101, "mse_weight": 10,
        "triplet_weight": 1, "ce_weight": 0.5, "label_smoothing": 0.1, "warmup_epochs": 10, "test_window": "whole",
        "text": "qgvl"}  # fmt: skip
MLAVL = {**COMMON, "optimizer": "adam", "lr": 1e-3, "batch_size": 64, "width": 256, "heads": 8, "encoder_layers": 1,
         "fusion_layers": 2, "grading_layers": 3, "mag2": "sage", "mse_weight": 10, "triplet_weight": 1, "ce_weight": 0.01,
         "label_smoothing": 0.1, "warmup_epochs": 0, "test_window": "centre", "text": "mlavl"}  # fmt: skip
# One rate of the paper's two, the larger, and the temperature: docs/heads.md.
MVLA = {"optimizer": "adam", "lr": 1e-3, "weight_decay": 0, "width": 512, "temperature": 0.07}
# nzl-thu/MUSDL: MTL-AQA/config.py, opts.py and run.sh, and those of JIGSAWS.
PERCEPTRON = {"optimizer": "adam", "lr": 1e-4, "final_lr_ratio": 1, "weight_decay": 0, "batch_size": 4, "dropout": 0,
              "epochs": 100, "triplet_weight": 0, "ce_weight": 0, "width": 256}  # fmt: skip
DIRECT = {**PERCEPTRON, "mse_weight": 0, "sigma": 5, "per_bin": True}
RATINGS = {**DIRECT, "epochs": 80, "sigma": 1}
# yuxumin/CoRe: configs/MTL_CoRe.yaml. xujinglin/FineDiving: FineDiving_TSA.yaml.
COMPARED = {"optimizer": "adam", "lr": 1e-3, "final_lr_ratio": 1, "weight_decay": 0, "epochs": 200, "voters": 10, "mse_weight": 0,
            "triplet_weight": 0, "ce_weight": 0, "exemplars": "category", "divide": ""}  # fmt: skip
GROUPED = {**COMPARED, "edges": "order", "place_weight": "leaves", "published_defects": False}
CORE = {**GROUPED, "batch_size": 2, "depth": 5, "width": 256}
TSA = {**COMPARED, "batch_size": 8, "score_range": 1, "comparison_weight": 1, "boundary_weight": 0.5, "boundary_mean": True,
       "bias": False}  # fmt: skip
# baiyang4/aqa_tpt: utils/opt.py, README.md, and the decay of its training on cached features.
TPT = {**GROUPED, "lr": 1e-4, "weight_decay": 5e-4, "epochs": 250, "batch_size": 24, "width": 512, "heads": 8, "queries": 5,
       "layers": 2, "groups": 16, "feed_forward": 512, "sparsity_weight": 0.05}  # fmt: skip
# docs/heads.md, heads that compare.
BY_DIFFICULTY = {"exemplars": "score_difficulty", "divide": "difficulty"}

PUBLISHED = {
    ("gdlt", "rg"): GDLT,
    ("gdlt", "fisv"): {**GDLT, "triplet_weight": 0.5, "dropout": 0.7, "epochs": 400},
    ("gslm", "rg"): QGVL,
    # 260 to 320 epochs, depending on the score.
    ("gslm", "fisv"): {**QGVL, "lr": 5e-2, "dropout": 0.7, "final_lr_ratio": 0.002, "epochs": 300},
    ("gslm", "fs1000"): QGVL,
    ("avcf", "rg"): MLAVL,
    ("avcf", "fisv"): MLAVL,
    ("avcf", "fs1000"): {**MLAVL, "epochs": 400},
    ("pgt", "rg"): MLAVL,
    ("pgt", "fs1000"): {**MLAVL, "epochs": 400},
    ("sca", "rg"): {**MVLA, "text": "qgvl"},
    ("sca", "jigsaws"): {**MVLA, "text": "mvla"},
    ("mvla", "finediving"): {**MVLA, "text": "mvla", "boundaries": "predicted"},
    ("mvla", "mtl-aqa"): {**MVLA, "text": "mvla", "boundaries": "fixed"},
    ("usdl", "mtl-aqa"): {**DIRECT, "bins": 101, "width": 256},
    ("usdl", "jigsaws"): {**RATINGS, "bins": 25},
    ("i3d-mlp", "mtl-aqa"): PERCEPTRON,
    ("i3d-mlp", "jigsaws"): {**PERCEPTRON, "epochs": 80},
    ("musdl", "mtl-aqa"): {**DIRECT, "weight_decay": 1e-5, "bins": 21},
    ("musdl", "jigsaws"): {**RATINGS, "bins": 5},
    ("core", "jigsaws"): {**CORE, "score_range": 0},
    ("core", "mtl-aqa"): {**CORE, **BY_DIFFICULTY, "score_range": 30},
    ("tpt", "jigsaws"): TPT,
    ("tpt", "mtl-aqa"): {**TPT, **BY_DIFFICULTY, "score_range": 30},
    ("skating-mixer", "fs1000"): {
        "optimizer": "adam",
        "lr": 1e-4,
        "weight_decay": 5e-6,
        "batch_size": 16,
        "epochs": 500,
        "mse_weight": 1,
        "final_lr_ratio": 1,
        "width": 512,
        "layers": 2,
        "published_defects": False,
    },  # fmt: skip
    ("m-bert", "fs1000"): {
        "optimizer": "adam",
        "lr": 1e-4,
        "test_window": "centre",
        "width": 768,
        "heads": 12,
        "layers": 6,
        "feed_forward": 3072,
        "orthogonal": 128,
        "fusion": "late",
        "dropout": 0.1,
    },  # fmt: skip
    ("t2cr", "rg"): {
        "lr": 1e-4,
        "weight_decay": 1e-4,
        "batch_size": 4,
        "epochs": 100,
        "rows": 68,
        "thin": 34,
        "voters": 10,
    },
    ("t2cr", "logo"): {
        "lr": 1e-4,
        "batch_size": 4,
        "epochs": 100,
        "rows": 48,
        "thin": 24,
        "voters": 10,
        "dtw_weight": 0,
    },
    ("t2cr", "mtl-aqa"): {
        "lr": 1e-3,
        "weight_decay": 0,
        "batch_size": 3,
        "epochs": 200,
        "rows": 10,
        "thin": 8,
        "voters": 3,
        "dtw_weight": 1,
    },
    ("tsa", "finediving"): {**TSA, "boundaries": "predicted", "stages": 3, "points": 5, "frames": 96},
    ("tsa", "mtl-aqa"): {**TSA, **BY_DIFFICULTY, "boundaries": "fixed"},
    ("tsa", "jigsaws"): {**TSA, "boundaries": "fixed"},
}
PUBLISHED |= {
    ("tsa-net", "mtl-aqa"): {"optimizer": "adam", "lr": 1e-4, "weight_decay": 1e-5, "batch_size": 4, "width": 256},
    ("pcln", "jigsaws"): {
        "optimizer": "adam",
        "lr": 1e-4,
        "batch_size": 32,
        "epochs": 200,
        "hidden": 4096,
        "rows": 160,
        "schedule": "step",
        "step_epochs": 90,
        "step_factor": 0.5,
    },
    ("pcln", "mtl-aqa"): {
        "lr": 1e-4,
        "step_epochs": 90,
        "batch_size": 16,
        "epochs": 100,
        "pair_weight": 1,
        "consistency_weight": 1,
    },
    ("pamfn", "rg"): {"optimizer": "adamw", "lr": 5e-4, "final_lr_ratio": 0.01, "fusions": 10, "window": 70},
    ("pamfn", "fisv"): {
        "lr": 8e-4,
        "final_lr_ratio": 1,
        "epochs": 500,
        "fusions": 6,
        "window": 130,
        "clip_gradient": 2,
    },
}
# ../shared/papers/BASELINES.md, part I.
ALONE = {"mse_weight": 1, "triplet_weight": 0, "ce_weight": 0}
HGCN = {**ALONE, "optimizer": "adam", "lr": 1e-4, "weight_decay": 1e-4, "epochs": 100, "final_lr_ratio": 1, "clips": 68, "window": 68,
        "groups": 1, "motion": True, "test_window": "centre", "judges_units": True, "published_defects": False}  # fmt: skip
QTD = {"optimizer": "adam", "lr": 1e-4, "weight_decay": 1e-5, "layers": 2, "heads": 4, "feed_forward": 1024, "dropout": 0.7,
       "places": "query", "attention_weight": 1, "published_defects": False}  # fmt: skip
PUBLISHED |= {
    ("action-net", "rg"): {**ALONE, **SGD, "weight_decay": 1e-4, "width": 256, "dropout": 0.5, "window": 0,
                           "test_window": "centre"},
    ("hgcn", "rg"): {**HGCN, "batch_size": 64},
    ("hgcn", "fisv"): {**HGCN, "batch_size": 8},
    ("hgcn", "logo"): {**HGCN, "batch_size": 8, "clips": 48, "window": 48},
    **dict.fromkeys((("hgcn", "mtl-aqa"), ("hgcn", "jigsaws")), {**HGCN, "batch_size": 4, "weight_decay": 1e-5, "epochs": 200,
                    "mse_weight": 4, "clips": 10, "window": 10, "groups": 4, "motion": False}),
    ("c3d-lstm", "jigsaws"): {**ALONE, "optimizer": "adam", "lr": 1e-4, "batch_size": 6, "epochs": 10, "width": 256},
    ("mscadc", "mtl-aqa"): {**ALONE, "optimizer": "adam", "lr": 1e-4, "batch_size": 3, "epochs": 100, "absolute_weight": 1,
                            "judges_units": True, "unit": 17, "width": 12},
    ("ms-lstm", "fisv"): {**ALONE, "optimizer": "adam", "lr": 5e-4, "weight_decay": 0, "final_lr_ratio": 1, "batch_size": 128,
                          "epochs": 500, "penalty_weight": 1, "published_defects": False},
    ("cofinal", "fisv"): {**COMMON, **SGD, "mse_weight": 0, "triplet_weight": 0.5, "values": 3, "align": 1, "width": 448, "heads": 7,
                          "epochs": 200, "window": 68, "encoder_layers": 1, "decoder_layers": 2},
    ("cofinal", "logo"): {"batch_size": 8, "dropout": 0.1, "values": 2, "reverted": False, "epochs": 100, "triplet_weight": 0.5},
    ("qtd", "rg"): {**ALONE, **QTD, "batch_size": 48, "queries": 68, "query_std": 2, "score_noise": 0.05, "judges_units": False},
    ("qtd", "fisv"): {**ALONE, **QTD, "batch_size": 32, "queries": 136, "window": 136, "query_std": 5, "score_noise": 0.05,
                      "judges_units": True, "unit": 43},
    ("qtd", "logo"): {**ALONE, **QTD, "batch_size": 48, "queries": 48, "window": 48, "query_std": 0.5, "score_noise": 0},
}  # fmt: skip
COFINAL = {
    "Ball": {"epochs": 250, "values": 2, "align": 1, "reverted": True},
    "Clubs": {"epochs": 400, "values": 3, "align": 1, "reverted": True},
    "Hoop": {"epochs": 300, "values": 2, "align": 2, "reverted": True},
    "Ribbon": {"epochs": 150, "values": 3, "align": 1, "reverted": False},
    "": {"epochs": 100, "values": 2, "align": 1, "reverted": True},
}
ACTION_NET = {"Ball": 400, "Clubs": 300, "Hoop": 500, "Ribbon": 300}
RG_EPOCHS = {"Ball": 250, "Clubs": 400, "Hoop": 500, "Ribbon": 150}

# docs/heads.md, presets; the weight of the squared error, where it is the loss: train/engine/settings.py.
TUNED = {"optimizer": "adamw", "lr": 3e-4, "epochs": 30, "triplet_weight": 0, "window": 32, "sampling": "spread"}
TUNED_MLAVL = {**TUNED, "optimizer": "adam", "lr": 1e-3, "triplet_weight": 1, "text": "mlavl"}
SQUARED = ("gdlt", "sca", "mvla", "skating-mixer", "m-bert", "pamfn", "sgn", "vatp-net", "probe", "qtd",
           "pcln")  # fmt: skip
STEPS_OF_8 = {"lr": 1e-3, "batch_size": 8}
STEPS_OF_16 = {"lr": 1e-3, "batch_size": 16}
TUNED_HEADS = {
    **dict.fromkeys(SQUARED, {**TUNED, "mse_weight": 10, "batch_size": 64}),
    "i3d-mlp": {**TUNED, **STEPS_OF_8, "mse_weight": 10},
    "mscadc": {**TUNED, **STEPS_OF_8, "mse_weight": 10, "test_window": "spread"},
    **dict.fromkeys(("ms-lstm", "c3d-lstm", "tsa-net"), {**TUNED, **STEPS_OF_16, "mse_weight": 10}),
    **dict.fromkeys(("usdl", "musdl"), {**TUNED, **STEPS_OF_8, "mse_weight": 0}),
    **dict.fromkeys(("core", "tsa", "cofinal", "t2cr"), {**TUNED, **STEPS_OF_16, "mse_weight": 0}),
    "tpt": {**TUNED, "mse_weight": 0, "batch_size": 16},
    "qtd": {**TUNED, "mse_weight": 10, "batch_size": 64, "dropout": 0.1},
    "action-net": {**TUNED, "mse_weight": 10, "batch_size": 16, "test_window": "spread"},
    "hgcn": {**TUNED, **STEPS_OF_16, "mse_weight": 10, "judges_units": True, "test_window": "spread"},
    **dict.fromkeys(("pgt", "avcf"), TUNED_MLAVL),
    "gslm": {**TUNED, "epochs": 20},
}


def chosen(head, dataset, names, category="", preset="published", **overrides):
    kinds = {"prototypes": PrototypeSettings, "head": get_head(head).Settings, "train": TrainSettings}
    made = build_settings(head, dataset, category, overrides, kinds, preset)
    every = {**vars(made.prototypes), **vars(made.head), **vars(made.train)}
    return {name: every[name] for name in names}


@pytest.mark.parametrize("head, dataset", PUBLISHED)
def test_published_settings(head, dataset):
    expected = PUBLISHED[head, dataset]
    assert chosen(head, dataset, expected) == expected


@pytest.mark.parametrize("head", ["gdlt", "gslm", "avcf", "pgt"])
@pytest.mark.parametrize("category", RG_EPOCHS)
def test_published_epochs_of_an_apparatus(head, category):
    assert chosen(head, "rg", ["epochs"], category) == {"epochs": RG_EPOCHS[category]}


@pytest.mark.parametrize("category", COFINAL)
def test_published_settings_of_an_apparatus(category):
    expected = COFINAL[category]
    assert chosen("cofinal", "rg", expected, category) == expected
    if category:
        assert chosen("action-net", "rg", ["epochs"], category) == {"epochs": ACTION_NET[category]}


STEPS = {
    ("action-net", "fisv", ""): {"schedule": "step", "milestones": "200,250", "step_factor": 0.1},
    ("action-net", "rg", "Ball"): {"schedule": "step", "milestones": "300,350"},
    ("action-net", "rg", "Rope"): {"schedule": "step", "milestones": "200,250", "epochs": 100},
    ("action-net", "rg", "Hoop"): {"schedule": "step", "milestones": "400,450"},
    ("qtd", "rg", "Ball"): {"schedule": "step", "step_epochs": 80, "step_factor": 0.1},
    ("qtd", "fisv", ""): {"step_epochs": 31},
    ("qtd", "logo", ""): {"step_epochs": 100},
    ("c3d-lstm", "mtl-aqa", ""): {"schedule": "step", "step_epochs": 5, "step_factor": 0.5, "epochs": 10},
    ("mscadc", "mtl-aqa", ""): {"schedule": "constant", "epochs": 100},
    ("gdlt", "rg", "Ball"): {"schedule": "cosine"},
}


@pytest.mark.parametrize("head, dataset, category", STEPS)
def test_published_schedules(head, dataset, category):
    expected = STEPS[head, dataset, category]
    assert chosen(head, dataset, expected, category) == expected


def test_a_schedule_of_the_user_replaces_that_of_the_preset():
    names = ["schedule", "milestones", "step_epochs"]
    assert [*chosen("action-net", "rg", names, "Ball", schedule="cosine").values()] == ["cosine", "", 0]
    assert [*chosen("action-net", "rg", names, "Ball", step_epochs=10).values()] == ["step", "", 10]
    assert [*chosen("qtd", "rg", names, milestones="5").values()] == ["step", "5", 0]


def test_every_head_that_is_trained_by_gradients_has_tuned_settings():
    assert set(TUNED_HEADS) == {name for name in TABLE if not get_head(name).closed_form}


@pytest.mark.parametrize("head", TUNED_HEADS)
@pytest.mark.parametrize("dataset", ["fisv", "a dataset of no paper"])
def test_tuned_settings(head, dataset):
    assert chosen(head, dataset, TUNED_HEADS[head], preset="tuned") == TUNED_HEADS[head]


@pytest.mark.parametrize(
    "preset, dataset, expected", [("tuned", "fisv", "tes,pcs"), ("tuned", "rg", ""), ("published", "fisv", "")]
)
def test_both_scores_of_a_skater(preset, dataset, expected):
    assert chosen("kernel", dataset, ["beside"], preset=preset) == {"beside": expected}
    assert chosen("kernel", dataset, ["beside"], preset=preset, beside="a") == {"beside": "a"}, "the user decides"


def test_the_published_margin_of_tpt():
    """3.2 for 20 clips and 5 queries."""
    (spacing,) = chosen("tpt", "mtl-aqa", ["spacing"]).values()
    assert spacing * 19 / 6 == pytest.approx(3.2, abs=1e-6)
