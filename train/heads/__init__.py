"""The heads, by name. Adding one is a file here and a line in `TABLE`; a module is imported when its head is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from longtake.errors import there_are
from longtake.train.errors import SettingsError

if TYPE_CHECKING:
    from longtake.train.heads.base import Head

TABLE: dict[str, str] = {
    "gslm": "longtake.train.heads.gslm:GSLM",
    "avcf": "longtake.train.heads.mlavl:MLAVL",
    "pgt": "longtake.train.heads.mlavl:VisualMLAVL",
    "sca": "longtake.train.heads.mvla:MVLA",
    "mvla": "longtake.train.heads.staged:StagedMVLA",
    "gdlt": "longtake.train.heads.gdlt:GDLT",
    "usdl": "longtake.train.heads.usdl:USDL",
    "musdl": "longtake.train.heads.musdl:MUSDL",
    "core": "longtake.train.heads.core:CoRe",
    "tsa": "longtake.train.heads.tsa:TSA",
    "tpt": "longtake.train.heads.tpt:TPT",
    "skating-mixer": "longtake.train.heads.skating_mixer:SkatingMixer",
    "m-bert": "longtake.train.heads.mbert:MBERT",
    "action-net": "longtake.train.heads.action_net:ActionNet",
    "hgcn": "longtake.train.heads.hgcn:HGCN",
    "ms-lstm": "longtake.train.heads.ms_lstm:MSLSTM",
    "cofinal": "longtake.train.heads.cofinal:CoFInAl",
    "qtd": "longtake.train.heads.qtd:QTD",
    "c3d-lstm": "longtake.train.heads.c3d_lstm:C3DLSTM",
    "mscadc": "longtake.train.heads.mscadc:MSCADC",
    "i3d-mlp": "longtake.train.heads.usdl:MeanMLP",
    "t2cr": "longtake.train.heads.t2cr:T2CR",
    "pamfn": "longtake.train.heads.pamfn:PAMFN",
    "tsa-net": "longtake.train.heads.tsa_net:TSANet",
    "pcln": "longtake.train.heads.pcln:PCLN",
    "sgn": "longtake.train.heads.sgn:SGN",
    "vatp-net": "longtake.train.heads.vatp_net:VATPNet",
    "c3d-svr": "longtake.train.heads.c3d_svr:C3DSVR",
    "probe": "longtake.train.heads.probe:Probe",
    "kernel": "longtake.train.heads.kernel:Kernel",
    "element-kernel": "longtake.train.heads.element_kernel:ElementKernel",
    "ridge": "longtake.train.heads.ridge:Ridge",
    "metadata": "longtake.train.heads.metadata:Metadata",
}


def get_head(name: str) -> type[Head]:
    """The head's class. Raises `SettingsError` for an unknown name."""
    if name not in TABLE:
        raise SettingsError(f"no head is called {name!r}{there_are(name, TABLE)}")
    module, _, attribute = TABLE[name].partition(":")
    return getattr(import_module(module), attribute)
