"""Looking into uploads: modules in the compiler's child process, schemas here. It stores nothing.

NOTE: the sandbox and the JSON Schema libraries cost tens of megabytes, and most repositories sit idle, so
both are imported by the first upload, not by the start of the node.
"""

from pathlib import Path
from typing import Final

from jobico.artifact import ModuleReport
from jobico.errors import InvalidInput, InvalidModule, TooLarge
from jobico.limits import COMPONENT_BYTES_MAX, SCHEMA_BYTES_MAX

__all__ = ["KINDS", "Inspector", "refusal"]

KINDS: Final = ("wasm", "json")


class Inspector:
    """Says what an upload is, or why it is not taken.

    Args:
        modules_dir: Where compiled modules are kept; executors on this machine find them there.
    """

    def __init__(self, modules_dir: Path) -> None:
        self._modules_dir = modules_dir

    def check_size(self, kind: str, content: bytes) -> None:
        """Refuses a file by its kind and size alone.

        Raises:
            InvalidInput: there is no such kind.
            TooLarge: it is over the bound of its kind.
        """
        if kind not in KINDS:
            raise InvalidInput(f"{kind!r} is no kind of artifact: use {' or '.join(KINDS)}.")
        bound = COMPONENT_BYTES_MAX if kind == "wasm" else SCHEMA_BYTES_MAX
        if len(content) > bound:
            raise TooLarge(f"The file has {len(content)} bytes; at most {bound} are taken of {kind}.")

    def inspect(self, kind: str, content: bytes, function: str) -> ModuleReport | None:
        """The report of a module that compiles; None for a schema that is good.

        Raises:
            InvalidModule: it is no module, or does not compile.
            InvalidSchema: it is no schema that events can be checked against.
        """
        if kind == "json":
            from jobico.schemas import check_schema  # noqa: PLC0415 - see the module's note

            check_schema(content)
            return None
        from jobico.sandbox.cache import ModuleCache  # noqa: PLC0415 - see the module's note

        report = ModuleCache(self._modules_dir).prepare(content, function)
        # NOTE: what compiles has a memory or a function to show; a report without any is that of a refusal.
        if not report.valid and not report.exports:
            raise refusal(report)
        return report


def refusal(report: ModuleReport) -> InvalidModule:
    """The error that tells what is wrong with a module."""
    return InvalidModule(
        "This module cannot run here: " + " ".join(report.problems),
        detail={"problems": list(report.problems), "abi": report.abi},
    )
