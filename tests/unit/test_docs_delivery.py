"""`docs/delivery.md` names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "delivery.md").read_text()


def test_every_promise_names_a_test_that_exists() -> None:
    named = re.findall(r"\[(test_\w+)\]\(\.\./(tests/[\w/]+\.py)\)", PAGE)
    assert len(named) > 40
    missing = [
        f"{path}::{name}"
        for name, path in named
        if not (ROOT / path).exists() or f"def {name}(" not in (ROOT / path).read_text()
    ]
    assert not missing


def test_every_row_of_a_promise_is_shown_by_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| Promise")]
    assert rows
    assert not [row for row in rows if "](../tests/" not in row]
