"""What strangers write can be read on a terminal and does nothing to it."""

import unicodedata

import pytest

from jobico.text import tame


@pytest.mark.parametrize(
    "text",
    [
        "\x1b]0;owned\x07",
        "\x1b[2J\x1b[H",
        "\x9b31m",
        "a\rb",
        "a\x08b",
        "\u202eevil\u202c",
        "\u2066x\u2069",
        "\ud800",
        "\x00",
        "\x7f",
    ],
)
def test_no_control_character_of_any_kind_comes_through(text: str) -> None:
    assert not [c for c in tame(text) if unicodedata.category(c) in ("Cc", "Cf", "Cs")]


def test_every_control_character_of_unicode_latin_is_spelt_out() -> None:
    controls = [
        chr(c) for c in range(0x100) if unicodedata.category(chr(c)) == "Cc" and chr(c) not in "\t\n\r"
    ]
    assert all(tame(c).startswith("\\x") for c in controls)


def test_ordinary_text_is_left_as_it_is() -> None:
    text = "Grüße, 世界 👋 — ok"
    assert tame(text) == text


def test_line_breaks_stay_only_where_asked() -> None:
    assert tame("a\r\nb\nc\rd") == "a b c d"
    assert tame("a\r\nb\nc\rd", multiline=True) == "a\nb\nc\nd"


def test_long_text_is_cut_and_says_so() -> None:
    assert tame("abcdef", chars_max=4) == "abc…"
    assert tame("abcd", chars_max=4) == "abcd"
