"""What documents say is so."""

import re
import tomllib
from pathlib import Path

import jobico
from jobico.settings import Settings

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=\[]", requirement)[0] for requirement in requirements}


def test_every_dependency_has_its_reason() -> None:
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs" / "dependencies.md").read_text(), re.MULTILINE)
    listed = {name.strip() for row in rows for name in row.split(",")}
    dev = PROJECT["optional-dependencies"]["dev"]
    assert listed - {"package", "---"} == _names(PROJECT["dependencies"]) | _names(dev)


def test_every_setting_is_explained_with_its_variable() -> None:
    listed = re.findall(r"^\| `(JOBICO_\w+)` \|", (ROOT / "docs" / "operating.md").read_text(), re.MULTILINE)
    assert listed == [f"JOBICO_{name.upper()}" for name in Settings.__struct_fields__]


def test_the_version_is_that_of_the_changelog() -> None:
    newest = re.search(r"^## (\S+?),? ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == PROJECT["version"] == jobico.__version__


def test_links_between_documents_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
    links = [
        (page, target)
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    ]
    assert links
    assert not [(str(page), target) for page, target in links if not (page.parent / target).exists()]
