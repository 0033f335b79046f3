"""Terminologies: the meaning of a category's code in words. A card names the terminology of its categories.

The texts are those of MVLA (Xu et al., section 3.3): one for each stage of a performance, and one for the whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from longtake.errors import ManifestError, there_are

# World Aquatics, Diving Rules: the first digit of a dive number is its group. Of a twisting and of an armstand dive, the second is the direction.
_GROUPS = {"1": "forward", "2": "back", "3": "reverse", "4": "inward"}
_POSITIONS = {"A": "straight", "B": "pike", "C": "tuck", "D": "free"}
_PLAIN = re.compile(r"(?P<group>[1-4])(?P<flying>[01])(?P<half_somersaults>1?\d)(?P<position>[A-D])")
_TWISTING = re.compile(r"5(?P<group>[1-4])(?P<half_somersaults>\d)(?P<half_twists>[1-9])(?P<position>[A-D])")
_ARMSTAND = re.compile(r"6(?P<group>[1-3])(?P<half_somersaults>\d)(?P<half_twists>[1-9])?(?P<position>[A-D])")


def diving(code: str) -> tuple[str, ...]:
    """Take-off, flight and entry of a dive number: "407B" is an inward take-off, 3.5 somersaults pike flight, entry into the water.

    In groups 1 to 4, the second digit is 1 for a flying somersault. The last digits count half somersaults and, for twisting and armstand
    dives, half twists. Raises `ManifestError` for anything else.
    """
    found = next(filter(None, (form.fullmatch(code) for form in (_PLAIN, _TWISTING, _ARMSTAND))), None)
    if found is None:
        raise ManifestError(
            f"{code!r} is not a dive number: a group from 1 to 6, digits for half somersaults and half twists, a position "
            f"{', '.join(_POSITIONS)}, such as 407B, 5253B or 6243D"
        )
    parts = found.groupdict()
    turns = [
        _halves(int(parts["half_somersaults"]), "somersault"),
        _halves(int(parts.get("half_twists") or 0), "twist"),
    ]
    flight = " and ".join(turn for turn in turns if turn)
    flying = "flying " if parts.get("flying") == "1" else ""
    flight = f"{flying}{flight} {_POSITIONS[parts['position']]} flight".replace("  ", " ").strip()
    armstand = "armstand " if found.re is _ARMSTAND else ""
    return f"{armstand}{_GROUPS[parts['group']]} take-off", flight, "entry into the water"


def _halves(number: int, unit: str) -> str:
    return f"{number / 2:g} {unit}{'' if number == 2 else 's'}" if number else ""


TERMINOLOGIES: dict[str, Callable[[str], tuple[str, ...]]] = {"diving": diving}


def stages_of(terminology: str, code: str) -> tuple[str, ...]:
    """The stages of the performance that `code` means, in order. Raises `ManifestError` for an unknown terminology or code."""
    if terminology not in TERMINOLOGIES:
        raise ManifestError(f"unknown terminology {terminology!r}{there_are(terminology, TERMINOLOGIES)}")
    return TERMINOLOGIES[terminology](code)


def in_one_sentence(stages: tuple[str, ...]) -> str:
    """ "a, b, and c": how MVLA composes the text of a whole video."""
    return stages[0] if len(stages) == 1 else f"{', '.join(stages[:-1])}, and {stages[-1]}"
