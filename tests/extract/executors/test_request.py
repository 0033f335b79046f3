"""What a worker gets is what the command sent, and small enough to go with each task."""

from pathlib import Path

from longtake.extract.executors.dask import SHOWN_ROWS
from longtake.extract.executors.request import Request, unpacked
from longtake.extract.plan.options import RunOptions
from longtake.manifests.table import Manifest, ManifestRow


def test_a_request_is_small():
    rows = tuple(ManifestRow(f"video_{n}", scores={"total": n / 7}) for n in range(SHOWN_ROWS))
    request = Request(
        "run", Manifest("small", rows, ("total",)), Path("/videos"), Path("/s.h5"), RunOptions(), ("0" * 16,)
    )
    assert unpacked(request.packed()) == request
    assert len(request.packed()) < 8_000
