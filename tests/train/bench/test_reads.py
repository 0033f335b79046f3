"""What a row of the bench reads in addition to its stream of features, and what its preset sets."""

import pytest

from longtake.train.bench.file import Choice, HeadEntry
from longtake.train.bench.reads import Reads, preset_rows, reads_of
from longtake.train.heads.plugin import PLUGINS


@pytest.mark.parametrize(
    "entry, expected",
    [
        (HeadEntry(name="gdlt"), Reads((), (), None)),
        (HeadEntry(name="avcf", audio="ast"), Reads(("ast",), ("mlavl",), None)),
        (HeadEntry(name="pamfn", streams=("flow=i3d-flow", "audio=ast")), Reads(("ast", "i3d-flow"), (), None)),
        (HeadEntry(name="gslm", text="mlavl@abc"), Reads((), ("mlavl",), None)),
        (HeadEntry(name="pgt"), Reads((), ("mlavl",), None)),
        (HeadEntry(name="gdlt", plugin="mag2"), Reads((), tuple(one.prompt_set for one in PLUGINS["mag2"]), None)),
        (HeadEntry(name="metadata"), Reads((), (), ())),
        (HeadEntry(name="metadata", settings={"groups": "skater,event"}), Reads((), (), ("event", "skater"))),
        (HeadEntry(name="musdl"), Reads((), (), None)),
        (HeadEntry(name="gslm", choices=(Choice(text="a"), Choice(text="b"))), Reads((), ("a", "b"), None)),
    ],
)
def test_what_a_row_reads(entry, expected):
    assert reads_of(entry, "fisv") == expected


def test_presets_without_what_the_entry_sets():
    entry = HeadEntry(name="gdlt", choices=(Choice(preset="tuned", settings={"epochs": 5}), Choice()))
    tuned, published = preset_rows(entry, "rg", ["Ball", ""])
    assert (
        set(tuned) == set(published) == {"Ball", ""}
        and "epochs" not in tuned["Ball"]
        and published["Ball"]["epochs"] == 250
    )
    (row,) = preset_rows(HeadEntry(name="pgt", preset="tuned", text="qgvl"), "fisv", [""])
    assert "text" not in row[""] and preset_rows(HeadEntry(name="pgt", preset="tuned"), "fisv", [""])[0][""]["text"]
    (row,) = preset_rows(HeadEntry(name="qtd", settings={"schedule": "constant"}), "fisv", [""])
    assert row[""] and not {"schedule", "milestones", "step_epochs", "step_factor"} & row[""].keys()
