"""Makes text of strangers (guests, senders, names) safe to show on a terminal."""

import re

__all__ = ["tame"]

# SECURITY: C0 and C1 controls carry terminal escapes (ECMA-48): they move the cursor, set titles, answer
# queries.
# Bidirectional controls (Unicode UAX 9) reorder what a reader sees; zero-width and line separators hide text.
# Lone surrogates cannot be written to a terminal at all.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff\ufff9-\ufffb]"
)
_LINE_BREAKS = re.compile("\r\n?|\n")


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def tame(text: str, *, multiline: bool = False, chars_max: int = 0) -> str:
    """Text with every control character spelt out, so that it can only be read, never obeyed.

    Args:
        text: Anything.
        multiline: Keeps line breaks; otherwise they become spaces. Tabs become spaces either way.
        chars_max: Cuts longer text and ends it with an ellipsis; 0 cuts nothing.
    """
    text = _LINE_BREAKS.sub("\n" if multiline else " ", text).replace("\t", "    ")
    text = _UNSAFE.sub(_escape, text)
    if chars_max and len(text) > chars_max:
        text = text[: chars_max - 1] + "…"
    return text
