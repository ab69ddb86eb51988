"""What a screen shows, as plain text: from Textual's public SVG export, put back onto a grid of cells."""

import html
import re

_LINE = re.compile(
    r'<text class="[^"]*" x="([\d.]+)" y="([\d.]+)" textLength="([\d.]+)"[^>]*>(.*?)</text>', re.S
)


def screen_text(svg: str, width: int) -> str:
    """The characters of an exported screenshot, a line each, without trailing blanks."""
    body = svg[svg.index('<g class="', svg.index("</defs>")) :] if "</defs>" in svg else svg
    runs = []
    for x, y, length, text in _LINE.findall(body):
        runs.append((float(y), float(x), float(length), html.unescape(text).replace("\xa0", " ")))
    cell = next(length / len(text) for _, _, length, text in runs if text.strip())
    rows: dict[float, list[str]] = {}
    for y, x, _, text in runs:
        row = rows.setdefault(y, [" "] * width)
        start = round(x / cell)
        for offset, character in enumerate(text):
            if 0 <= start + offset < width:
                row[start + offset] = character
    return "\n".join("".join(rows[y]).rstrip() for y in sorted(rows)) + "\n"
