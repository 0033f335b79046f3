"""Yardsticks for benchmarks/heads.py: the published modules of the tables' heads, written plainly from torch's own layers, without masks.

Each takes a batch and returns the loss of a training step, with the published terms and the sizes of the head's defaults. They are for time alone: only
the number of parameters is compared with the head's.
"""

from yardsticks.clips import C3DLSTM, GDLT, HGCN, MSLSTM, QTD, USDL, CoFInAl
from yardsticks.pairs import T2CR, TPT, CoRe
from yardsticks.streams import PAMFN, ActionNet, SkatingMixer

PLAIN = {
    "gdlt": GDLT,
    "cofinal": CoFInAl,
    "ms-lstm": MSLSTM,
    "hgcn": HGCN,
    "qtd": QTD,
    "action-net": ActionNet,
    "skating-mixer": SkatingMixer,
    "usdl": USDL,
    "musdl": USDL,
    "c3d-lstm": C3DLSTM,
    "core": CoRe,
    "tpt": TPT,
    "t2cr": T2CR,
    "pamfn": PAMFN,
}
"""Head -> its yardstick, made of the head and the widths of the streams that it reads. Of the others either no code was published, or the
published module reads something else than vectors of clips."""
