"""Limits for what a small pickle describes: the values in it, and the bytes that they take.

A value that is stored once and used many times inside others grows without bound in a file of a hundred bytes; `refuse_growth` counts
instructions before they are run. A call of a few bytes can copy a value of many, or make one of a size that it only states; `Budget` limits
the sum over a file while it is read.
"""

from __future__ import annotations

import pickle
import pickletools
from collections import OrderedDict
from typing import BinaryIO

MOST_VALUES, MOST_DEPTH = 10_000_000, 50
"""Of a pickle, with everything that is used again counted again. Annotations of 3,000 dives with a label for each frame are 500,000 values,
in 6 levels."""

SPARE_BYTES = 64 << 20
"""What the values of any file may take, beyond 8 times its size."""

_ENTRY_BYTES = 100
"""About what an entry of an ordered dictionary takes."""


class Budget:
    """The bytes that the values of one file may still take."""

    def __init__(self, num_bytes: int) -> None:
        self._limit = self._left = 8 * num_bytes + SPARE_BYTES

    def take(self, num_bytes: int) -> None:
        """Raises `UnpicklingError` if fewer bytes are left."""
        self._left -= num_bytes
        if self._left < 0:
            raise pickle.UnpicklingError(
                f"its values take more than {self._limit} bytes, 8 times the size of the file and {SPARE_BYTES >> 20} MiB"
            )

    def ordered(self, entries: list | tuple = ()) -> OrderedDict:
        """An ordered dictionary within the budget."""
        self.take(_ENTRY_BYTES * len(entries))
        return OrderedDict(entries)


def refuse_growth(file: BinaryIO) -> None:
    """Run the instructions of a pickle on sizes and depths instead of values. Raises `UnpicklingError` for more than `MOST_VALUES` or
    `MOST_DEPTH`. A list or dictionary that grows after it was used counts as it was; `_plain` finds those."""
    stack: list[tuple[int, int] | None] = []  # size and depth of each value; None is a mark
    memo: dict[int, tuple[int, int] | None] = {}
    for code, argument, position in pickletools.genops(file):
        if code.name == "MARK":
            stack.append(None)
        elif code.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            index = len(memo) if code.name == "MEMOIZE" else int(str(argument))
            # Values are numbered in order, and a reader makes room for all numbers up to the largest.
            if index > (position or 0):
                raise pickle.UnpicklingError(f"it numbers a value {index}")
            memo[index] = stack[-1]
        elif code.name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(str(argument))])
        elif code.name == "DUP":
            stack.append(stack[-1])
        else:
            taken = _taken(stack, code)
            size, depth = 1 + sum(one[0] for one in taken), 1 + max((one[1] for one in taken), default=0)
            if size > MOST_VALUES or depth > MOST_DEPTH:
                raise pickle.UnpicklingError(
                    f"its values grow beyond {MOST_VALUES} or are nested more than {MOST_DEPTH} deep when they are read"
                )
            # A longer list or dictionary is not a deeper one.
            depth = max((one[1] for one in taken), default=0) if code.name in _ADDS else depth
            stack += [(size, depth)] * len(code.stack_after)


_ADDS = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD")


def _taken(stack: list[tuple[int, int] | None], code: pickletools.OpcodeInfo) -> list[tuple[int, int]]:
    """What an instruction takes from the stack."""
    before = list(code.stack_before)
    taken: list[tuple[int, int]] = []
    if pickletools.markobject in before:
        while (one := stack.pop()) is not None:
            taken.append(one)
        before = before[: before.index(pickletools.markobject)]
    for _ in before:
        one = stack.pop()
        if one is None:
            raise pickle.UnpicklingError("it is damaged")
        taken.append(one)
    return taken
