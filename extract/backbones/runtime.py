"""Which library computes a frozen network: torch, or OpenVINO on a CPU; and what of that is part of the recipe.

In float32 the two agree within `FLOAT32_BOUND`, which every converted network is checked for, so their features have one recipe. In bfloat16
they round at other places and differ by up to a percent: there the recipe names OpenVINO and its version.
"""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from longtake.extract.errors import ExtractError

TORCH, OPENVINO = "torch", "openvino"
RUNTIMES = (TORCH, OPENVINO)
FLOAT32_BOUND = 1e-5
"""Most relative difference (L2) of a clip's features from torch's float32, for float32 by OpenVINO. Measured: 3e-7 to 2e-6."""
BFLOAT16_BOUND = 0.03
"""The same for bfloat16 by OpenVINO. Measured: 0.003 to 0.01. A larger one is a fault, not rounding."""
OLDEST = (2026, 2)
"""Release of OpenVINO, as setup.cfg has it."""
_LABEL = "bfloat16 by OpenVINO "


def openvino_version() -> str | None:
    """Such as `2026.4.1`; None where it is not installed."""
    with suppress(PackageNotFoundError):
        return version("openvino")
    return None


def import_openvino() -> ModuleType:
    """The package, which sends no reports: by default its import sends one to a server of Google. `ExtractError` if it is missing or broken."""
    name = "openvino_telemetry"
    silenced = "openvino" not in sys.modules and name not in sys.modules
    if silenced:
        # Without this package OpenVINO uses a stub of its own.
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        import openvino
    except Exception as error:  # a broken package can raise anything
        raise ExtractError(
            f"--runtime openvino needs the package openvino ({error}): python -m pip install 'longtake[openvino]'"
        ) from error
    finally:
        if silenced:
            del sys.modules[name]
    return openvino


def import_fault() -> str:
    """Why an installed package cannot be used, such as a missing library of the system; empty if it can."""
    found = openvino_version() or ""
    if tuple(map(int, re.findall(r"\d+", found)[:2])) < OLDEST:
        return f"version {found} is older than {OLDEST[0]}.{OLDEST[1]}"
    try:
        import_openvino()
    except ExtractError as error:
        return str(error.__cause__)
    return ""


def has_bfloat16() -> bool:
    """OpenVINO computes bfloat16 on this processor. Where it does not, it would compute float32 without a word."""
    return "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def stated_precision(precision: str, runtime: str) -> str:
    """For the recipe, such as `float32`, `bfloat16` or `bfloat16 by OpenVINO 2026.4`."""
    if runtime == TORCH or precision != "bfloat16":
        return precision
    year, release = ((openvino_version() or "") + ".").split(".")[:2]
    return f"{_LABEL}{year}.{release}"


def from_stated(stated: str) -> tuple[str, str | None]:
    """The inverse: precision, and the runtime that made such features; None for either."""
    if stated.startswith(_LABEL):
        return "bfloat16", OPENVINO
    return stated, TORCH if stated == "bfloat16" else None
