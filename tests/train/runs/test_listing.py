"""What `train list` shows."""

import json

from longtake.train.cli import main
from longtake.train.runs import listing
from tests.calls import invoke


def run(*arguments, status=0):
    return invoke(main, *arguments, status=status)


def test_list():
    rows = {row["head"]: row for row in json.loads(run("list", "--json").output)}
    assert set(rows) == set(listing.TABLE)
    pamfn, sgn, ridge = rows["pamfn"], rows["sgn"], rows["ridge"]
    assert (pamfn["year"], pamfn["code"], pamfn["golden"][0]) == (2024, "qinghuannn/PAMFN", "pamfn")
    assert pamfn["needs"] == ["sound", "stream flow"] and not pamfn["re_implemented_from_description"]
    assert sgn["re_implemented_from_description"] and sgn["code"] is None and sgn["paper"] and sgn["golden"] == []
    assert ridge["paper"] is None and not ridge["re_implemented_from_description"]
    assert rows["vatp-net"]["needs"] == ["texts grades"] and "exemplars" in rows["t2cr"]["needs"]
    for row in rows.values():
        assert not row["golden"] or row["code"], "numbers of the published code are of published code"


def test_list_counts_what_the_presets_train(monkeypatch):
    """Sizes of the published code: cofinal is 448 wide on Fis-V, qtd has 136 queries there; hgcn has 10 clips in 4 groups on MTL-AQA."""
    monkeypatch.setattr(listing, "TABLE", ("cofinal", "qtd", "pamfn", "hgcn", "t2cr"))
    found = {
        dataset: {
            row["head"]: row["parameters"] for row in json.loads(run("list", "--dataset", dataset, "--json").output)
        }
        for dataset in ("fisv", "mtl-aqa")
    }
    fisv, diving = found.values()
    assert (fisv["cofinal"], fisv["qtd"], fisv["pamfn"]) == (10_064_748, 22_458_370, 17_955_917)
    assert (diving["hgcn"], diving["t2cr"]) == (406_682, 606_802)


def test_a_head_without_published_code_says_so(monkeypatch):
    monkeypatch.setattr(listing, "TABLE", ("sgn", "m-bert", "ridge"))
    lines = run("list").output.splitlines()
    assert "no code published: re-implemented from the description" in lines[1] and "needs sound" in lines[2]
    assert "code sangho-vision/avbert; compared with its numbers (mbert_late)" in lines[4]


def test_golden_files_are_there(shared):
    for name in listing.TABLE:
        for file in listing.get_head(name).SOURCE.golden:
            folder = shared / "golden"
            assert (folder / f"{file}.npz").is_file() or (folder / "baselines" / f"{file}.npz").is_file(), file


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
