"""The facts that `extract list`, `extract weights list` and `extract probe` show; importing this imports no decoder and no network."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from longtake.extract import decode
from longtake.extract.backbones import list_specs
from longtake.extract.backbones.download import cached_path
from longtake.extract.backbones.named import ALIASES
from longtake.extract.errors import ExtractError, WeightsError
from longtake.manifests.card import Card, list_cards
from longtake.manifests.pretrained import TABLE as REGISTERED


def _datasets() -> list[dict[str, object]]:
    return [
        {"name": name, "about": card.title, "scores": list(card.scores), "categories": list(card.categories),
         "prompts": list(card.prompts), "licence": card.licence}
        if isinstance(card, Card) else {"name": name, "about": f"cannot be used: {card}"}
        for name, card in list_cards().items()
    ]  # fmt: skip


def _backbones() -> list[dict[str, object]]:
    return [
        {
            "about": f"{s.title}: {s.dim} values a clip of {s.clips.length} frame{'s' * (s.clips.length > 1)}",
            **asdict(s),
            "weights": [asdict(entry) for entry in REGISTERED.values() if entry.backbone == s.name],
        }
        for s in list_specs()
    ] + [
        {"name": name, "about": f"{alias.title}: hf/{alias.repo}", "dim": None, "weights": [], **asdict(alias)}
        for name, alias in ALIASES.items()
    ]


def _decoders() -> list[dict[str, object]]:
    rows = []
    for name, needs in decode.PACKAGES.items():
        found = None
        with suppress(PackageNotFoundError):
            found = version(needs.package)
        state = f"{needs.package} {found}" if found else f"not installed: pip install 'longtake[{needs.extra}]'"
        about = {"about": f"{state}; {needs.about}", "installed": bool(found), "version": found}
        rows.append({"name": name, **asdict(needs), **about})
    return rows


def _encoders() -> list[dict[str, object]]:
    from longtake.extract.backbones.text_encoders import ENCODERS

    return [{"about": f"{e.model} of {e.library}, {e.dim} values a text", **asdict(e)} for e in ENCODERS.values()]


def _recipes() -> list[dict[str, object]]:
    from longtake.extract.plan.recipes import RECIPES

    return [
        {"name": name, **asdict(recipe), "about": f"{recipe.about} ({', '.join(recipe.backbones)})"}
        for name, recipe in RECIPES.items()
    ]


KINDS: dict[str, Callable[[], list[dict[str, object]]]] = {
    "datasets": _datasets,
    "backbones": _backbones,
    "recipes": _recipes,
    "decoders": _decoders,
    "encoders": _encoders,
    "weights": lambda: [{"about": entry.note, **asdict(entry)} for entry in REGISTERED.values()],
}


def search_backbones(word: str) -> list[dict[str, object]]:
    """The backbones and the networks of installed libraries with a word in their names. Libraries that are not installed are left out."""
    from longtake.extract.backbones.families import FAMILIES, PACKAGES, family_module

    rows: list[dict[str, object]] = [row for row in _backbones() if word.lower() in str(row["name"]).lower()]
    for family in FAMILIES:
        with suppress(ExtractError):
            found = dict.fromkeys(name for name in family_module(family).names() if word.lower() in name.lower())
            rows += [{"name": f"{family}/{name}", "about": f"of {PACKAGES.get(family, family)}"} for name in found]
    return rows


def listing(kind: str | None) -> dict[str, list[dict[str, object]]]:
    """The entries of one kind, or of all, by kind."""
    return {name: rows() for name, rows in KINDS.items() if kind in (None, name)}


def weights_rows() -> list[dict[str, object]]:
    """The registered weights, and whether this machine has them."""
    rows = []
    for entry in REGISTERED.values():
        here = False
        with suppress(WeightsError):  # no home folder
            here = cached_path(entry).is_file()
        rows.append({**asdict(entry), "here": here})
    return rows


def probe_facts(video: Path, decoder: str) -> dict[str, object]:
    """What a decoder finds in a file without decoding its pictures. Raises `VideoError`, `ExtractError`."""
    opened = decode.get_decoder(decoder)
    info = opened.probe(video)
    return {
        **{name: value for name, value in asdict(info).items() if name not in ("timeline", "path", "orientation")},
        "path": str(info.path),
        "rotation_degrees": 90 * info.orientation.quarter_turns,
        "mirrored": info.orientation.mirrored,
        "pixel_aspect": f"{info.pixel_aspect.numerator}:{info.pixel_aspect.denominator}",
        "num_frames": len(info.timeline),
        "begin_seconds": float(info.timeline.seconds[0]),
        "duration_seconds": info.timeline.end_seconds,
        "fps": info.timeline.fps,
        "decoder": opened.description(),
        "read_by": opened.for_file(info)[0].name,
        "refused": opened.unfit(info),
    }
