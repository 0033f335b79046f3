"""Parts of messages."""

import pytest

from longtake.errors import MOST_NAMES, UnknownDataset, printable, there_are


@pytest.mark.parametrize(
    "name, known, text",
    [
        ("gdtl", ["gdlt", "qtd"], "; did you mean gdlt? (there are gdlt, qtd)"),
        ("I3D", ["i3d", "vst"], "; did you mean i3d? (there are i3d, vst)"),
        ("x", ["gdlt", "qtd"], " (there are gdlt, qtd)"),
        ("x", [], " (there are none)"),
        (
            "gdlt,qtd",
            ["gdlt", "qtd"],
            "; that is several names in one: repeat the option for each, where it takes several (there are gdlt, qtd)",
        ),
        ("videos/a1.mp4", ["a1", "b1"], "; did you mean a1? (there are a1, b1)"),
    ],
)
def test_known_names(name, known, text):
    assert there_are(name, known) == text
    assert there_are(name, iter(known)) == text


def test_a_long_list_of_names_is_cut():
    text = there_are("x", [f"video{number}" for number in range(1000)])
    assert text.endswith(f"video{MOST_NAMES - 1} and {1000 - MOST_NAMES} more)")


def test_untrusted_text_cannot_move_the_cursor():
    assert printable("a\x1b[2Jb\r\nc\u202e é 日") == "a [2Jb  c  é 日"


def test_a_message_is_not_quoted():
    assert str(UnknownDataset("unknown dataset 'x'")) == "unknown dataset 'x'"
