"""What `train list` shows."""

import json

from longtake.train.cli import main
from longtake.train.runs import listing
from tests.calls import invoke


def run(*arguments, status=0):
    return invoke(main, *arguments, status=status)


def test_list():
    rows = json.loads(run("list", "--json").output)
    assert {row["head"] for row in rows} >= {"gslm", "gdlt", "ridge"}


def test_list_counts_for_a_dataset_and_a_width(monkeypatch):
    """Of the published code of MLAVL, with 768 values a clip; 124 clips of Fis-V are more work than 68 of Rhythmic Gymnastics."""
    monkeypatch.setattr(listing, "TABLE", ("avcf", "gdlt", "ridge"))
    found = {}
    for words in ((), ("--dim", 768), ("--dataset", "fisv")):
        found[words] = {row["head"]: row for row in json.loads(run("list", *words, "--json").output)}
    plain, narrow, long = found.values()
    assert (plain["avcf"]["parameters"], narrow["avcf"]["parameters"]) == (6_987_155, 6_724_627)
    assert long["gdlt"]["parameters"] == plain["gdlt"]["parameters"] == 3_163_396
    assert long["gdlt"]["flops_per_video"] > 1.7 * plain["gdlt"]["flops_per_video"]
    said = run("list", "--dim", 768, "--dataset", "demo").output
    assert "gdlt" in said and f"{narrow['gdlt']['parameters']:,} parameters, " in said
    assert "needs what the card lacks" in said and "fitted in closed form" in said
    assert "did you mean fisv" in run("list", "--dataset", "fisw", status=2).output
