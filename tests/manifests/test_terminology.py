"""Dive numbers in words."""

import pytest

from longtake.errors import ManifestError
from longtake.manifests.card import find_card
from longtake.manifests.table import find_manifest
from longtake.manifests.terminology import stages_of


def test_every_dive_number_of_mtl_aqa_in_words():
    """Compared with the digits, which this test reads one by one."""
    numbers = {row.category for row in find_manifest("mtl-aqa").rows}
    assert len(numbers) == 58 and numbers == set(find_card("mtl-aqa").categories)
    directions = dict(zip("1234", ("forward", "back", "reverse", "inward")))
    for number in numbers:
        take_off, flight, entry = stages_of("diving", number)
        digits, position = number[:-1], number[-1]
        group = directions[digits[1] if digits[0] in "56" else digits[0]]
        assert take_off == ("armstand " if digits[0] == "6" else "") + f"{group} take-off"
        halves = int(digits[2])
        twists = int(digits[3]) if len(digits) > 3 else 0
        words = dict(A="straight", B="pike", C="tuck", D="free")[position]
        assert flight.endswith(f"{words} flight") and entry == "entry into the water"
        assert (f"{halves / 2:g} somersault" in flight) == bool(halves), number
        assert (f"{twists / 2:g} twist" in flight) == bool(twists), number


@pytest.mark.parametrize(
    "number, stages",
    [
        ("407B", ("inward take-off", "3.5 somersaults pike flight", "entry into the water")),
        ("5152B", ("forward take-off", "2.5 somersaults and 1 twist pike flight", "entry into the water")),
        ("6243D", ("armstand back take-off", "2 somersaults and 1.5 twists free flight", "entry into the water")),
        ("112B", ("forward take-off", "flying 1 somersault pike flight", "entry into the water")),
        ("1011C", ("forward take-off", "5.5 somersaults tuck flight", "entry into the water")),
        ("100A", ("forward take-off", "straight flight", "entry into the water")),
    ],
)
def test_dive_numbers_in_words(number, stages):
    assert stages_of("diving", number) == stages


@pytest.mark.parametrize("number", ["", "407", "407E", "707B", "4077B", "5652B", "6443D", "124B", "x407B"])
def test_invalid_dive_numbers(number):
    with pytest.raises(ManifestError, match="is not a dive number: a group from 1 to 6"):
        stages_of("diving", number)
