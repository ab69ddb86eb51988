"""`jobico new`: a job that deploys and runs as it is, to start one's own from."""

import shutil
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from cli import render
from cli.files import examples_dir
from cli.options import Json
from jobico.errors import AlreadyExists, InvalidInput
from jobico.ids import check_name

__all__ = ["LANGUAGES", "Language", "new"]


class Language(NamedTuple):
    """What a new job of a language is made of; `sdk` is a file of `examples/sdk`, copied to `sdk_to`."""

    source: str
    sdk: str = ""
    sdk_to: str = ""
    wit: bool = False


LANGUAGES = {
    "c": Language("greet.c", "c/jobicolet.h", "jobicolet.h"),
    "zig": Language("greet.zig"),
    "rust": Language("greet.rs", "rust/jobicolet.rs", "jobicolet.rs"),
    "go": Language("greet.go", "go/jobicolet.go", "jobicolet/jobicolet.go"),
    "assemblyscript": Language("greet.ts"),
    "javascript": Language("greet.js", wit=True),
    "python": Language("greet.py", "python/jobicolet.py", "jobicolet.py", wit=True),
    "wat": Language("greet.wat"),
}
"""What `jobico new` knows, by the name of its folder in `examples/languages`."""


def new(
    language: Annotated[
        str, typer.Argument(metavar="LANGUAGE", help="One of: " + ", ".join(LANGUAGES), show_default=False)
    ],
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The job's id, and the folder it gets.", show_default=False)
    ],
    as_json: Json = False,
) -> None:
    """Start a job with definition, schema, program and event.

    Example: jobico new rust greeting
    """
    known = LANGUAGES.get(language)
    if known is None:
        raise InvalidInput(f"There is no template for {language!r}: choose one of {', '.join(LANGUAGES)}.")
    check_name("job", name)
    target = Path(name)
    if target.exists():
        raise AlreadyExists(f"{target} exists already: choose another name, or remove it first.")
    built = _fill(target, language, known, name)
    steps = ([] if built else [f"sh {name}/build.sh"]) + [
        f"jobico run {name}/greet.wasm -e {name}/event.json",
        f"jobico deploy {name}/job.yaml",
        f"jobico send demo {name} {name}/event.json --wait",
    ]
    files = sorted(str(path) for path in target.rglob("*") if path.is_file())
    report = {"folder": str(target), "files": files, "built": built, "next": steps}
    lines = [
        f"Made {target}:",
        *(f"  {file}" for file in files),
        "",
        "Next:",
        *(f"  {step}" for step in steps),
    ]
    render.report(report, lambda: render.styled("\n".join(lines)))


def _fill(target: Path, language: str, known: Language, name: str) -> bool:
    """Makes the folder; True where it holds a built program already."""
    examples = examples_dir()
    languages = examples / "languages"
    shutil.copytree(languages / language, target, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(languages / "event.json", target)
    shutil.copy(languages / "event.schema.json", target)
    definition = (languages / "job.yaml").read_text(encoding="utf-8")
    definition = definition.replace("id: greet\ntenant", f"id: {name}\ntenant", 1)
    definition = definition.replace("      id: greet\n", f"      id: {name}\n", 1)
    (target / "job.yaml").write_text(definition, encoding="utf-8")
    if known.sdk:
        (target / known.sdk_to).parent.mkdir(exist_ok=True)
        shutil.copy(examples / "sdk" / known.sdk, target / known.sdk_to)
    if known.wit:
        import jobico.sandbox

        shutil.copy(Path(jobico.sandbox.__file__).parent / "jobicolet.wit", target)
    return (target / "greet.wasm").is_file()
