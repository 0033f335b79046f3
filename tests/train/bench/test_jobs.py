"""Whether a finished cell is what is asked for now; more of it is in tests/train/bench/test_cells.py."""

import json
import shutil
from dataclasses import replace

from longtake.train.bench.cells import plan, read_done, read_sources
from longtake.train.bench.file import read_bench
from longtake.train.bench.jobs import jobs_of, why_other


def test_other_categories_or_scores(made, tmp_path):
    """Also of cells of releases that did not keep them: their run has."""
    bench, sources = read_bench(made.file), read_sources(made.out)
    entry = replace(sources["planted"].entry, scores=("total",))
    asked = jobs_of(bench, {"planted": replace(sources["planted"], entry=entry)}, plan(bench, sources, ["ridge"]), made.out, "cpu", "none", True)[0]  # fmt: skip
    assert why_other(read_done(asked.folder), asked) == "other categories or scores"
    older = shutil.copytree(asked.folder, tmp_path / asked.folder.name)
    values = json.loads((older / "bench.json").read_text())
    del values["taken"]
    (older / "bench.json").write_text(json.dumps(values))
    assert why_other(read_done(older), asked) == "other categories or scores"
    (older / "config.json").unlink()
    assert read_done(older).taken is None and why_other(read_done(older), asked) == "", (
        "what is not known is no difference"
    )
