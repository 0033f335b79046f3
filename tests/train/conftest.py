"""What tests of training share."""

import pytest

from longtake.train.protocol import precision


@pytest.fixture(autouse=True)
def one_precision(monkeypatch):
    """Runs take float32 by default, also on a processor on which `auto` would take bfloat16: a test means the same everywhere."""
    monkeypatch.setattr(precision, "computes_in_bfloat16", lambda: False)
