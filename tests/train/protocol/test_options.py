"""Options that no run can have."""

import pytest

from longtake.train.errors import SettingsError
from longtake.train.protocol.options import Options, fold_rule


@pytest.mark.parametrize("name, lowest", [("seeds", 1), ("folds", 0), ("evaluate_every", 1), ("first_seed", 0)])
def test_counts_have_a_lowest_value(name, lowest):
    assert getattr(Options(**{name: lowest}), name) == lowest
    for value in (lowest - 1, 1.5, "2"):
        with pytest.raises(SettingsError, match=f"{name} must be a whole number of {lowest} or more, got {value!r}"):
            Options(**{name: value})


def test_groups_go_with_folds():
    assert Options(folds="groups", group="skater").folds == "groups"
    for options, message in (
        (
            {"group": "skater"},
            "--group skater says how folds are cut: give their number with --folds N, or --folds groups",
        ),
        ({"folds": "groups"}, "--folds groups tests one group at a time: name the kind of group with --group"),
        ({"folds": "group", "group": "skater"}, "folds must be a whole number of 0 or more, got 'group'"),
    ):
        with pytest.raises(SettingsError, match=message):
            Options(**options)


def test_the_rule_of_folds_in_words():
    assert fold_rule(0, None) == "" and fold_rule(5, None) == "5-fold" and fold_rule(5, "skater") == "5-fold by skater"
    assert fold_rule("groups", "event") == "one event at a time"


@pytest.mark.parametrize("name", ["categories", "scores"])
def test_one_name_is_not_a_list_of_names(name):
    assert getattr(Options(**{name: ("A",)}), name) == ("A",)
    for value in ("A", (1,)):
        with pytest.raises(SettingsError, match=f"{name} must be a list of names"):
            Options(**{name: value})
