"""docs/extend.md adds a head in 40 lines: the class there passes the checks of all heads."""

import re
import sys
from pathlib import Path

import torch

from longtake.train.heads import TABLE, get_head
from longtake.train.heads.base import Head
from tests.train.heads.kit import (
    DIM,
    check_abilities,
    check_outputs,
    check_saved,
    check_that_padding_changes_nothing,
    make_batch,
)

DOCS = Path(__file__).resolve().parents[3] / "docs" / "extend.md"


def test_the_head_of_the_docs(tmp_path, monkeypatch):
    (source,) = re.findall(r"cat > meanhead.py <<'PY'\n(.*?)\nPY\n", DOCS.read_text(encoding="utf-8"), re.S)
    assert len(source.splitlines()) <= 40
    (tmp_path / "meanhead.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(TABLE, "mean", "meanhead:MeanHead")
    head_class = get_head("mean")
    assert issubclass(head_class, Head)

    def make() -> Head:
        return head_class(DIM, head_class.Settings(width=16))

    head = make()
    for check in (check_outputs, check_that_padding_changes_nothing):
        check(head)
    check_saved(head, make())
    check_abilities(head, make())
    torch.nn.functional.mse_loss(head(make_batch([6, 9])).score01, torch.rand(2)).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())
    del sys.modules["meanhead"]
