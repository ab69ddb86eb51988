"""`jobico deploy`, `rollback` and `undeploy`."""

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import render
from cli.files import read_file
from cli.options import Home, Job, Json, Tenant
from cli.session import Session, connect, new_request_id
from cli.upload import UPLOAD_TIMEOUT_MS
from jobico import limits
from jobico.errors import CallerError, InvalidDefinition, JobicoError, NotFound
from jobico.units import format_size

if TYPE_CHECKING:
    from jobico.definition import JobDefinition
    from protocol.messages import Deployed

__all__ = ["deploy", "deploy_file", "rollback", "undeploy"]

File = Annotated[Path, typer.Argument(metavar="FILE", help="The definition, YAML.", show_default=False)]


def deploy(
    file: File,
    update: Annotated[bool, typer.Option("--update", help="The job may exist: replace it.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only check it, and show what would change.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Deploy a job definition with the files it names.

    Programs and schemas that stand beside the definition are uploaded; others must be in the repository.
    All of it is checked before any of it counts.

    Example: jobico deploy customer.yaml --update
    """
    with connect(home) as session:
        before = _current_source(session, file) if dry_run else ""
        answer = deploy_file(session, file, update=update, dry_run=dry_run)
        facts = _facts(session, answer, dry_run)
    render.report(facts, lambda: _draw(facts, before, answer.revision.source))


def deploy_file(session: Session, file: Path, *, update: bool = False, dry_run: bool = False) -> "Deployed":
    """Uploads what a definition names and stands beside it, then deploys it."""
    from cli.definition_lines import with_lines
    from jobico.definition import parse_definition
    from protocol.messages import DeployJob

    source = read_file(file, limits.DEFINITION_BYTES_MAX)
    definition = parse_definition(source)
    with session.suggesting(tenant=definition.tenant):
        digests = _upload(session, definition, file.parent)
        request = DeployJob(
            request_id=new_request_id(), source=source, files=digests, update=update, dry_run=dry_run
        )
        try:
            return session.change(request, UPLOAD_TIMEOUT_MS)
        except InvalidDefinition as error:
            raise with_lines(error, source, definition) from error


def _upload(session: Session, definition: "JobDefinition", folder: Path) -> dict[str, str]:
    """Uploads the files of a definition, without a name: control names them once all is checked."""
    from protocol.messages import PutArtifact

    named = {runtime.module: "wasm" for runtime in definition.runtimes}
    named |= {event.schema.ref: "json" for event in definition.events if event.schema}
    found = {name: kind for name, kind in named.items() if (folder / name).is_file()}
    digests = {}
    with render.progress() as bars:
        task = bars.add_task("Uploading", total=len(found))
        for name, kind in found.items():
            content = read_file(
                folder / name, limits.COMPONENT_BYTES_MAX if kind == "wasm" else limits.SCHEMA_BYTES_MAX
            )
            bars.update(task, description=f"Uploading {name}, {format_size(len(content))}")
            request = PutArtifact(
                request_id=new_request_id(), tenant=definition.tenant, kind=kind, content=content
            )
            try:
                digests[name] = session.ask("repository", request, UPLOAD_TIMEOUT_MS).info.digest
            except CallerError as error:
                error.message = f"{folder / name}: {error.message}"
                raise
            bars.advance(task)
    return digests


def _current_source(session: Session, file: Path) -> str:
    from jobico.definition import parse_definition
    from protocol.messages import ShowJob

    definition = parse_definition(read_file(file, limits.DEFINITION_BYTES_MAX))
    try:
        return session.control(ShowJob(tenant=definition.tenant, job=definition.id)).revision.source
    except NotFound:
        return ""


def _facts(session: Session, answer: "Deployed", dry_run: bool) -> dict[str, Any]:
    revision = answer.revision
    definition = revision.definition
    try:
        url = session.url()
    except JobicoError:
        url = ""  # a deploy needs no listener
    return {
        "tenant": definition.tenant,
        "job": definition.id,
        "revision": revision.number,
        "previous": answer.previous,
        "unchanged": answer.unchanged,
        "dry_run": dry_run,
        "warnings": list(answer.warnings),
        "modules": {
            name: {"digest": pin.digest, "abi": str(pin.abi)} for name, pin in revision.modules.items()
        },
        "schemas": dict(revision.schemas),
        "events": {
            event.id: f"{url}/events/{definition.tenant}/{event.id}"
            for event in definition.events
            if not event.inline
        },
    }


def _draw(facts: dict[str, Any], before: str, after: str) -> None:
    job = f"{facts['tenant']}/{facts['job']}"
    if facts["dry_run"]:
        _draw_diff(before, after)
        render.line(f"{job} is right: it would become revision {facts['revision']}.", "green")
    elif facts["unchanged"]:
        render.line(f"{job} is the same as revision {facts['revision']}: nothing to do.", "green")
    else:
        was = f" (was {facts['previous']})" if facts["previous"] else ""
        render.line(f"Deployed {job}, revision {facts['revision']}{was}.", "green")
    for warning in facts["warnings"]:
        render.line(f"Warning: {warning}", "yellow")
    for url in facts["events"].values():
        render.line(f"  POST {url}")


def _draw_diff(before: str, after: str) -> None:
    styles = {"+": "green", "-": "red", "@": "cyan"}
    for text in difflib.unified_diff(
        before.splitlines(), after.splitlines(), "current", "this", n=2, lineterm=""
    ):
        render.line(text, styles.get(text[:1], ""))


def rollback(
    tenant: Tenant,
    job: Job,
    to: Annotated[
        int | None,
        typer.Option("--to", min=1, metavar="N", help="The revision.", show_default="the one before"),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make an earlier revision of a job current again.

    Example: jobico rollback acme customer-jobs --to 3
    """
    from protocol.messages import RollbackJob

    with connect(home) as session, session.suggesting(tenant=tenant, job=job):
        answer = session.change(RollbackJob(request_id=new_request_id(), tenant=tenant, job=job, to=to or 0))
    number = answer.revision.number
    facts = {"tenant": tenant, "job": job, "revision": number, "previous": answer.previous}
    render.report(
        facts, lambda: render.styled(f"{tenant}/{job} is at revision {number} again (was {answer.previous}).")
    )


def undeploy(tenant: Tenant, job: Job, home: Home = None, as_json: Json = False) -> None:
    """Withdraw a job.

    Its events are unknown from now on; what is queued becomes dead letters.

    Example: jobico undeploy acme customer-jobs
    """
    from protocol.messages import UndeployJob

    with connect(home) as session, session.suggesting(tenant=tenant, job=job):
        session.change(UndeployJob(request_id=new_request_id(), tenant=tenant, job=job))
    render.report({"undeployed": f"{tenant}/{job}"}, lambda: render.styled(f"Withdrew {tenant}/{job}."))
