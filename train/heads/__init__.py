"""The heads, by name. Adding one is a file here and a line in `TABLE`; nothing is imported until it is asked for."""

from __future__ import annotations

from importlib import import_module

from manifests.errors import there_are
from train.errors import SettingsError

TABLE: dict[str, str] = {
    "gslm": "train.heads.gslm:GSLM",
    "avcf": "train.heads.mlavl:MLAVL",
    "pgt": "train.heads.mlavl:VisualMLAVL",
    "sca": "train.heads.mvla:MVLA",
    "mvla": "train.heads.staged:StagedMVLA",
    "gdlt": "train.heads.gdlt:GDLT",
    "usdl": "train.heads.usdl:USDL",
    "musdl": "train.heads.musdl:MUSDL",
    "core": "train.heads.core:CoRe",
    "tsa": "train.heads.tsa:TSA",
    "tpt": "train.heads.tpt:TPT",
    "i3d-mlp": "train.heads.usdl:MeanMLP",
    "kernel": "train.heads.kernel:Kernel",
    "ridge": "train.heads.ridge:Ridge",
}


def get_head(name: str) -> type:
    """The head's class. Each has `Settings`, `needs(settings)`, `KEY_MAP` and a constructor `(dim, settings, prototypes,
    audio_dim)`; a head keeps what it was made with as `settings`."""
    if name not in TABLE:
        raise SettingsError(f"no head is called {name!r}{there_are(name, TABLE)}")
    module, _, attribute = TABLE[name].partition(":")
    return getattr(import_module(module), attribute)
