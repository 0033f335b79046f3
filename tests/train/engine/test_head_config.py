"""The configuration of a trained head, as JSON."""

import json
from dataclasses import asdict, replace

import pytest

from longtake.features.types import FeatureHeader
from longtake.train.data.dataset import ScoreScale
from longtake.train.engine.head_config import ExemplarLabels, HeadConfig, ScoredPart
from longtake.train.engine.settings import TrainSettings
from longtake.train.errors import CheckpointError
from longtake.train.heads import get_head

SCALE = ScoreScale("total", 0.0, 10.0, True)
CONFIG = HeadConfig(
    head="gdlt", dim=8, head_settings=asdict(get_head("gdlt").Settings()), train_settings=TrainSettings(), dataset="gym",
    category="Ball", score=SCALE, parts=(), window=9, seed=1, fold=2,
    feature_header=FeatureHeader("planted", "video", 8, "planted", None, False, 16, 16, "pad", 25.0).to_json(),
    recipe_id="r", audio_header=None, text_recipe_id=None, plugin=None, plugin_settings={}, terms={"Ball": [0, 1]},
    random_weights=True, versions={"torch": "2"},
)  # fmt: skip


def test_a_configuration_is_read_as_it_was_written():
    labels = ExemplarLabels(("v",), ("Ball",), {"total": (1.0,)}, {"Ball": (0,)}, (0,))
    for config in (CONFIG, replace(CONFIG, exemplars=labels, parts=(ScoredPart("gym", "Ball", SCALE),), fold=None)):
        assert HeadConfig.from_json(config.to_json(), "x") == config
    assert CONFIG.file_name == "Ball-total-seed1-fold2"


def test_every_fault_is_named():
    values = json.loads(CONFIG.to_json())
    values |= {"window": "9", "feature_header": "{", "head_settings": {"width": "wide"}}
    del values["seed"]
    with pytest.raises(CheckpointError) as raised:
        HeadConfig.from_json(json.dumps(values), "x")
    for name in ("window", "seed", "feature_header", "head_settings"):
        assert f"\n  {name}" in str(raised.value)


def test_the_scores_of_a_unified_head():
    assert CONFIG.tested_on("any") == [("Ball", SCALE)]
    ice = replace(SCALE, name="tes")
    unified = replace(
        CONFIG, parts=(ScoredPart("gym", "A", SCALE), ScoredPart("gym", "B", SCALE), ScoredPart("ice", "", ice))
    )
    assert unified.tested_on("gym") == [("A", SCALE), ("B", SCALE)] and unified.tested_on("ice") == [("", ice)]
    with pytest.raises(CheckpointError, match="knows the scales of gym, ice, not of 'other'"):
        unified.tested_on("other")
