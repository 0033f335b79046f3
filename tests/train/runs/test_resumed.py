"""Runs that an earlier release started, whose presets were others."""

from longtake.train.cli import main
from longtake.train.protocol import settings
from tests.calls import invoke
from tests.train.planted import planted_store


def test_a_run_is_resumed_with_its_own_settings(tmp_path, monkeypatch):
    store = planted_store(tmp_path / "s.h5", num_train=6, num_test=4, with_text=False)
    call = (
        "heads",
        "--features",
        store,
        "--head",
        "usdl",
        "--epochs",
        2,
        "--no-floor",
        "--out",
        tmp_path / "run",
        "--json",
    )
    with monkeypatch.context() as earlier:
        earlier.setattr(settings, "preset_row", lambda *_: {"optimizer": "adam", "lr": 1e-2, "mse_weight": 0.0})
        before = invoke(main, *call).stdout
    assert "holds another run (settings)" in invoke(main, *call, status=2).output, (
        "without --resume, it would be another run"
    )
    kept = {path: path.read_bytes() for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert invoke(main, *call, "--resume").stdout == before
    assert kept and {path: path.read_bytes() for path in kept} == kept
    assert "holds another run (settings)" in invoke(main, *call, "--resume", "--set", "width=8", status=2).output
