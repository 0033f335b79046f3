"""Settings of a run: defaults, preset, and the user's own."""

import re

import pytest

from longtake.manifests.card import find_card
from longtake.train.data.dataset import ScoreScale
from longtake.train.errors import SettingsError
from longtake.train.heads import get_head
from longtake.train.heads.plugin import PLUGINS
from longtake.train.protocol.settings import build_settings, card_settings, settings_kinds


def settings(head, plugin=None, **overrides):
    return build_settings(head, "rg", "", overrides, settings_kinds(head, plugin))


def test_texts_of_the_command_line_become_values():
    made = settings("gdlt", epochs="3", lr="0.5", mask="false", optimizer="adam")
    assert (made.train.epochs, made.train.lr, made.head.mask, made.train.optimizer) == (3, 0.5, False, "adam")
    for name, value in (("epochs", "many"), ("mask", "maybe")):
        with pytest.raises(SettingsError, match=f"{name} takes a value of type"):
            settings("gdlt", **{name: value})


def test_unknown_names():
    with pytest.raises(SettingsError, match="head gdlt has no setting 'epoch'; did you mean epochs?"):
        settings("gdlt", epoch=1)
    with pytest.raises(SettingsError, match="plugin.width is a setting of a plug-in: name one with --plugin"):
        settings("gdlt", **{"plugin.width": 8})


def test_settings_of_a_plugin_are_its_own():
    (kind, *_) = [variant.kind for variants in PLUGINS.values() for variant in variants]
    made = settings("gdlt", kind, **{"plugin.dropout": 0.25, "dropout": 0.5})
    assert (made.plugin.dropout, made.head.dropout) == (0.25, 0.5)


@pytest.mark.parametrize("head", ["musdl", "usdl"])
def test_a_card_gives_a_head_the_facts_that_it_has_settings_for(head):
    kind, card = get_head(head).Settings, find_card("mtl-aqa")
    found = card_settings(card, ScoreScale("total", 0.0, 100.0, True), kind)
    assert found.keys() <= kind.__dataclass_fields__.keys()
    assert ("judges" in found) == (head == "musdl")


@pytest.mark.parametrize("name, value", [("epochs", 2.0), ("lr", True), ("width", None), ("optimizer", 1)])
def test_a_value_of_another_type_is_refused(name, value):
    with pytest.raises(SettingsError, match=f"{name} must be .*, got {value!r}"):
        settings("gdlt", **{name: value})


@pytest.mark.parametrize(
    "head, setting, message",
    [
        ("i3d-mlp", "width=-4", "width must be above 0, got -4"),
        ("i3d-mlp", "dropout=3", "dropout must be from 0 to below 1, got 3.0"),
        ("i3d-mlp", "weight_decay=-1", "weight_decay must be 0 or more, got -1.0"),
        ("i3d-mlp", "mse_weight=nan", "mse_weight must be 0 or more, got nan"),
        ("gdlt", "grades=0", "grades must be above 0, got 0"),
        ("gdlt", "decoder_layers=0", "decoder_layers must be above 0, got 0"),
        ("gdlt", "encoder_layers=-1", "encoder_layers must be 0 or more, got -1"),
        ("kernel", "penalty_min=0", "penalty_min must be above 0, got 0.0"),
        ("usdl", "width=0", "width must be above 0, got 0"),
    ],
)
def test_settings_out_of_range(head, setting, message):
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}$"):
        settings(head, **dict([setting.split("=")]))
