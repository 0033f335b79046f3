"""Check values read from files (JSON, TOML, attributes) against the types of a dataclass.

One mechanism for cards, recipes, checkpoints and the configurations of runs: files come from other people and other releases, and
may hold anything. All faults are reported together, each with its place, the type that belongs there and the value found:

    header = build(FeatureHeader, read_json(text, "the recipe", InvalidFeatures), "the recipe", InvalidFeatures)

    the recipe is not valid:
      dim must be a whole number, got '1024'
      weights is missing
      unknown entry 'preprocesing'; did you mean preprocessing?
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import reprlib
from collections.abc import Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

LARGEST = 1e12
"""Of a float; larger ones overflow in what is computed from them. NaN and infinity are refused as well."""
LARGEST_INT = 2**63 - 1
WORDS: Mapping[object, str] = {
    str: "text",
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
    NoneType: "null",
    tuple: "a list",
    list: "a list",
    dict: "a table",
    Mapping: "a table",
}
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def read_json(text: str | bytes, where: str, error: type[Exception]) -> Any:
    """The value of a JSON text. Raises `error` where the text is damaged or nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError as cause:
        raise error(f"{where} is nested too deeply") from cause
    except ValueError as cause:
        raise error(f"{where} is damaged: {cause}") from cause


def build(kind: type[T], values: object, where: str, error: type[Exception]) -> T:
    """The dataclass `kind` from a table of values. Raises `error` with every fault; `where` names the file in its message.

    Fields may be `str`, `int`, `float` (finite; a whole number stays an int), `bool`, `object`, dataclasses, `tuple[X, ...]`,
    `list[X]`, `dict[str, X]`, `Mapping[str, X]` and unions of these. Text is never taken for a number, nor a bool for an int. Lists
    become tuples where the field is one. Fields with a default may be missing. A dataclass with a field `name` in a `dict[str, X]`
    gets its key as the name. A `ValueError` from `__post_init__` is one of the faults. Names in annotations must be imported at run
    time, not under TYPE_CHECKING.
    """
    faults: list[str] = []
    made: T = read_value(kind, values, "", faults)
    refuse(faults, where, error)
    return made


def refuse(faults: list[str], where: str, error: type[Exception]) -> None:
    """Raises `error` with the faults of the file `where`, if there are any."""
    if faults:
        raise error(f"{where} is not valid:\n  " + "\n  ".join(faults))


def read_fields(kind: Any, values: object, place: str, faults: list[str]) -> dict[str, Any]:
    """The valid fields of the dataclass `kind`, by name. The rest is added to `faults`. For checks of one field against another that
    should be reported together with these faults; otherwise use `build`."""
    if not isinstance(values, Mapping):
        faults.append(_must_be("a table", values, place))
        return {}
    types = _field_types(kind)
    for name in values:
        if name not in types:
            close = difflib.get_close_matches(str(name), types, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            faults.append(f"unknown entry {_shown(name)}{f' in {place}' if place else ''}{hint}")
    made = {}
    for field in dataclasses.fields(kind):
        if field.name in values:
            before = len(faults)
            value = read_value(types[field.name], values[field.name], _inside(place, field.name), faults)
            if len(faults) == before:
                made[field.name] = value
        elif field.default is field.default_factory is dataclasses.MISSING:
            faults.append(f"{_inside(place, field.name)} is missing")
    return made


def read_value(kind: Any, value: Any, place: str, faults: list[str]) -> Any:
    """`value` as the type `kind`. What is wrong with it is added to `faults`, with its place; the result is then meaningless."""
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()  # a number of numpy, from an attribute
    origin = get_origin(kind) or kind
    if origin in (Union, UnionType):
        return _one_of(get_args(kind), value, place, faults)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, place, faults)
    if kind in (object, Any):
        return value
    if not _fits(origin, value):
        faults.append(_must_be(WORDS[origin], value, place))
        return value
    arguments = get_args(kind)
    if origin in (tuple, list):
        inner = arguments[0] if arguments else object
        return origin(read_value(inner, one, f"{place}[{index}]", faults) for index, one in enumerate(value))
    if origin in (dict, Mapping):
        return _table(arguments[1] if arguments else object, value, place, faults)
    return value


def _fits(origin: object, value: object) -> bool:
    if origin is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST
    if origin is int:
        return isinstance(value, int) and not isinstance(value, bool) and -LARGEST_INT <= value <= LARGEST_INT
    if origin in (tuple, list):
        return isinstance(value, tuple | list)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping)
    return isinstance(value, origin)  # type: ignore[arg-type]  # str, bool and NoneType are left


def _dataclass(kind: Any, values: object, place: str, faults: list[str]) -> Any:
    before = len(faults)
    made = read_fields(kind, values, place, faults)
    if len(faults) > before:
        return None
    try:
        return kind(**made)
    except ValueError as error:
        faults.append(f"{place}: {error}" if place else str(error))
        return None


def _table(kind: Any, values: Mapping[object, Any], place: str, faults: list[str]) -> dict[str, Any]:
    has_name = dataclasses.is_dataclass(kind) and any(field.name == "name" for field in dataclasses.fields(kind))
    table: dict[str, Any] = {}
    for key, value in values.items():
        if not isinstance(key, str):
            faults.append(_must_be("a table with texts as keys", values, place))
            break
        if has_name and isinstance(value, Mapping):
            value = {**value, "name": key}
        table[key] = read_value(kind, value, _inside(place, key), faults)
    return table


def _one_of(kinds: tuple[Any, ...], value: object, place: str, faults: list[str]) -> Any:
    own: list[str] = []
    for kind in kinds:
        own = []
        made = read_value(kind, value, place, own)
        if not own:
            return made
        if _is_container(kind, value):  # the faults inside it say more than that nothing fits
            break
    else:
        words = [WORDS.get(get_origin(kind) or kind, "a table") for kind in kinds if kind is not NoneType]
        own = [_must_be(" or ".join(dict.fromkeys(words)), value, place)]
    faults += own
    return value


def _is_container(kind: Any, value: object) -> bool:
    origin = dict if dataclasses.is_dataclass(kind) else get_origin(kind) or kind
    return origin in (tuple, list, dict, Mapping) and _fits(origin, value)


@cache
def _field_types(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _must_be(words: str, value: object, place: str) -> str:
    return f"{place or 'it'} must be {words}, got {_shown(value)}"


def _inside(place: str, name: str) -> str:
    shown = name if name.replace("-", "_").isidentifier() else _shown(name)
    return f"{place}.{shown}" if place else shown


def _shown(value: object) -> str:
    try:
        return _SHORT.repr(value)
    except (ValueError, RecursionError):  # integers of thousands of digits are not printed
        return f"a value of type {type(value).__name__}"
