"""What this machine computes with, found without importing torch where that is possible: its import is most of the start of a short run."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

from longtake.extract.errors import ExtractError
from longtake.extract.plan.options import AUTO

CPU_FACTS = Path("/proc/cpuinfo")
GPU_FILES = tuple(map(Path, ("/dev/kfd", "/dev/nvidiactl", "/dev/dxg")))
"""Of AMD's driver, of NVIDIA's, and of Windows' in its Linux: where a system such as NixOS keeps the driver's library, only torch may know."""


def choose_device(name: str) -> str:
    """`auto` is cuda where there is a GPU. Raises `ExtractError` for a device that cannot be used."""
    if name == "cpu" or (name == AUTO and surely_no_gpu()):
        return "cpu"
    import torch

    if name == AUTO:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        offered = "cpu and cuda" if torch.cuda.is_available() else "cpu"
        reason = str(error).splitlines()[0].split(". ")[0]
        if reason.startswith("Expected one of"):
            reason = "it is not a kind of device, such as cuda, cuda:1 or mps"
        raise ExtractError(f"--device {name} cannot be used: {reason}. This machine offers {offered}") from error
    return name


def surely_no_gpu() -> bool:
    """Linux without the library of NVIDIA's driver and without a device file of a GPU: torch cannot do without both."""
    if not sys.platform.startswith("linux") or any(path.exists() for path in GPU_FILES):
        return False
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return True
    return False


def processor_has_bfloat16() -> bool:
    """AVX-512 computes in bfloat16; without it, torch emulates that."""
    if "torch" not in sys.modules and CPU_FACTS.is_file():
        return "avx512_bf16" in CPU_FACTS.read_text(encoding="utf-8", errors="replace").split()
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported())
