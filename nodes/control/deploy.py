"""What a deploy is checked for beyond its own text: modules, schemas, and names that others have taken.

Pure but for the `Library` it asks. It stores nothing: `nodes.control.jobs` commits what it answers. All
problems of a definition are reported at once.
"""

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import msgspec

from jobico.artifact import ArtifactInfo, ModuleReport
from jobico.definition import (
    Abi,
    Engine,
    EventDefinition,
    JobDefinition,
    ModulePin,
    Revision,
    RuntimeDefinition,
)
from jobico.errors import CallerError, InvalidDefinition
from jobico.limits import DEFINITION_PROBLEMS_MAX

__all__ = ["Checked", "Library", "check_deploy", "same_revision"]


class Library(Protocol):
    """The repository, as a deploy sees it. Both raise a `CallerError` where a thing is missing or bad."""

    def module(self, ref: str, function: str) -> ArtifactInfo:
        """The module of a name or digest, with its report for that entry function."""
        ...

    def schema(self, ref: str) -> ArtifactInfo:
        """The schema of a name or digest; it has passed `check_schema`."""
        ...


class Checked(msgspec.Struct, frozen=True):
    """What a definition pins. `names` are to be bound in the repository: digest by "kind/name"."""

    modules: dict[str, ModulePin]
    schemas: dict[str, str]
    names: dict[str, str]
    warnings: tuple[str, ...]


def check_deploy(
    definition: JobDefinition,
    files: Mapping[str, str],
    library: Library,
    *,
    taken: Mapping[str, str],
    secrets: Collection[str] = (),
) -> Checked:
    """Checks a definition against the repository and the tenant's other jobs.

    Args:
        definition: What is deployed.
        files: Digests of files that were uploaded with it, by the names that it uses.
        library: Where modules and schemas are.
        taken: Events of the tenant's other jobs, with the job of each.
        secrets: Names of the secrets that the tenant has.

    Raises:
        InvalidDefinition: something is missing or does not fit; `detail["problems"]` has each.
    """
    check = _Check(definition, files, library, taken)
    for index, runtime in enumerate(definition.runtimes):
        check.runtime(f"runtimes[{index}]", runtime)
    for index, event in enumerate(definition.events):
        check.event(f"events[{index}]", event)
    check.raise_problems()
    return Checked(check.modules, check.schemas, check.names, tuple(check.warnings(secrets)))


def same_revision(current: Revision, definition: JobDefinition, checked: Checked) -> bool:
    """True if a deploy would change nothing: the same definition with the same files."""
    return (
        current.definition == definition
        and current.modules == checked.modules
        and current.schemas == checked.schemas
    )


class _Check:
    def __init__(
        self, definition: JobDefinition, files: Mapping[str, str], library: Library, taken: Mapping[str, str]
    ) -> None:
        self._definition = definition
        self._files = files
        self._library = library
        self._taken = taken
        self._problems: list[dict[str, Any]] = []
        self.modules: dict[str, ModulePin] = {}
        self.schemas: dict[str, str] = {}
        self.names: dict[str, str] = {}

    def runtime(self, path: str, runtime: RuntimeDefinition) -> None:
        try:
            info = self._library.module(self._files.get(runtime.module, runtime.module), runtime.function)
        except CallerError as error:
            self._problem(f"{path}.moduleref", f"{runtime.module!r}: {error.message}")
            return
        self._bind("wasm", runtime.module)
        report = info.report
        if report is None or not report.valid:
            why = "; ".join(report.problems) if report and report.problems else "it is no module for Jobico"
            self._problem(f"{path}.moduleref", f"{runtime.module!r} cannot run here: {why}.")
            return
        self._entry(path, runtime, report)
        if runtime.engine is Engine.WASMER and report.abi != Abi.COMMAND:
            self._problem(
                f"{path}.engine", f"wasmer runs the command ABI alone, this module has {report.abi}."
            )
        self.modules[runtime.id] = ModulePin(digest=info.digest, abi=Abi(report.abi))

    def event(self, path: str, event: EventDefinition) -> None:
        owner = self._taken.get(event.id)
        if owner is not None:
            self._problem(
                f"{path}.id",
                f"The job {owner!r} has the event {event.id!r} already: events are unique within a tenant.",
            )
        if event.schema is None:
            return
        try:
            info = self._library.schema(self._files.get(event.schema.ref, event.schema.ref))
        except CallerError as error:
            self._problem(f"{path}.schema.schemaref", f"{event.schema.ref!r}: {error.message}")
            return
        self._bind("json", event.schema.ref)
        self.schemas[event.id] = info.digest

    def warnings(self, secrets: Collection[str]) -> list[str]:
        definition = self._definition
        found = [
            f"The event {event.id!r} has no schema: any JSON is taken."
            for event in definition.events
            if event.schema is None and not event.inline
        ]
        wanted = {name for runtime in definition.runtimes for name in runtime.secrets}
        wanted |= {event.verify.secret for event in definition.events if event.verify.secret}
        found += [f"The secret {name!r} is not set." for name in sorted(wanted - set(secrets))]
        used = {runtime.module for runtime in definition.runtimes}
        used |= {event.schema.ref for event in definition.events if event.schema is not None}
        found += [f"The file {name!r} is not used." for name in sorted(self._files.keys() - used)]
        return found

    def raise_problems(self) -> None:
        if not self._problems:
            return
        first = self._problems[0]
        more = len(self._problems) - 1
        also = f" There {'is' if more == 1 else 'are'} {more} more." if more else ""
        raise InvalidDefinition(
            f"{first['path']}: {first['message']}{also}",
            detail={"problems": self._problems[:DEFINITION_PROBLEMS_MAX]},
        )

    def _entry(self, path: str, runtime: RuntimeDefinition, report: ModuleReport) -> None:
        if runtime.abi not in (Abi.AUTO, report.abi):
            self._problem(f"{path}.abi", f"{runtime.module!r} has the ABI {report.abi}, not {runtime.abi}.")
        elif report.abi == Abi.JOBICOLET and not _exports(report, runtime.function):
            self._problem(f"{path}.mainfuncname", f"{runtime.module!r} exports no {runtime.function!r}.")

    def _bind(self, kind: str, name: str) -> None:
        if name in self._files:
            self.names[f"{kind}/{name}"] = self._files[name]

    def _problem(self, path: str, message: str) -> None:
        # NOTE: lines are the parser's to know; by now the text is gone, and the path says which.
        self._problems.append({"line": 0, "path": path, "message": message})


def _exports(report: ModuleReport, name: str) -> bool:
    return any(export.partition(":")[0] == name for export in report.exports)
