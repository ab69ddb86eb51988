"""`jobico show`: one thing, whole."""

from typing import Annotated, Any

import typer

from cli import render
from cli.options import Home, Job, Json, Tenant
from cli.session import connect
from jobico.settings import Settings
from jobico.units import format_duration_ms, format_size

__all__ = ["app", "tenant"]

app = typer.Typer(add_completion=False)

Ref = Annotated[
    str, typer.Argument(metavar="NAME", help="Its name, or its digest (sha256:…).", show_default=False)
]


@app.command()
def job(
    tenant: Tenant,
    job: Job,
    revision: Annotated[
        int | None,
        typer.Option("--revision", min=1, metavar="N", help="Which.", show_default="the current one"),
    ] = None,
    source: Annotated[
        bool, typer.Option("--source", help="Print the YAML alone, as it was deployed.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show a job: its events, what they run, and its revisions.

    Example: jobico show job acme customer-jobs
    """
    from protocol.messages import ShowJob

    with connect(home) as session, session.suggesting(tenant=tenant, job=job):
        found = session.control(ShowJob(tenant=tenant, job=job, number=revision or 0))
    if source:
        render.report(
            {"source": found.revision.source}, lambda: render.styled(found.revision.source.rstrip())
        )
        return
    render.report(
        {"revision": found.revision, "current": found.current, "kept": found.kept}, lambda: _draw_job(found)
    )


def _draw_job(found: Any) -> None:
    revision = found.revision
    definition = revision.definition
    kept = ", ".join(str(number) for number in found.kept)
    pairs = [
        ("Job", f"{definition.tenant}/{definition.id}  {definition.name}"),
        ("Revision", f"{revision.number} of {kept}; {found.current} is current"),
        ("Deployed", render.when(revision.created_ms)),
    ]
    render.show(render.facts(pairs))
    render.line()
    events = [
        (
            event.id,
            event.queue,
            event.runtime,
            revision.schemas.get(event.id, "-")[:19],
            str(event.verify.scheme),
            str(event.retry.attempts),
            "  ".join(f"{name} → {to}" for name, to in (("ok", event.ok), ("error", event.error)) if to),
        )
        for event in definition.events
    ]
    columns = ("EVENT", "QUEUE", "RUNTIME", "SCHEMA", "VERIFY", "#ATTEMPTS", "THEN")
    render.show(render.table(columns, events, empty="No events."))
    render.line()
    runtimes = [
        (
            runtime.id,
            runtime.module,
            str(revision.modules[runtime.id].abi),
            format_duration_ms(runtime.limits.time_ms),
            format_size(runtime.limits.memory_bytes),
            revision.modules[runtime.id].digest[:19],
        )
        for runtime in definition.runtimes
        if runtime.id in revision.modules
    ]
    names = ("RUNTIME", "MODULE", "ABI", "#TIME", "#MEMORY", "DIGEST")
    render.show(render.table(names, runtimes, empty="No runtimes."))


@app.command()
def tenant(tenant: Tenant, home: Home = None, as_json: Json = False) -> None:
    """Show a tenant: its quotas, jobs, events and keys.

    Example: jobico show tenant acme
    """
    import msgspec

    from protocol.messages import ShowTenant

    with connect(home) as session, session.suggesting(tenant=tenant):
        found = session.control(ShowTenant(name=tenant))
    quotas = msgspec.structs.asdict(found.tenant.quotas)
    facts = {
        "name": found.tenant.name,
        "created_ms": found.tenant.created_ms,
        "quotas": quotas,
        "jobs": found.jobs,
        "events": found.events,
        "keys": found.keys,
    }
    set_quotas = ", ".join(f"{name} {value:,}" for name, value in quotas.items() if value)
    pairs = [
        ("Tenant", found.tenant.name),
        ("Created", render.when(found.tenant.created_ms)),
        ("Quotas", set_quotas or "the defaults"),
        ("Jobs", ", ".join(found.jobs) or "none"),
        ("Events", ", ".join(found.events) or "none"),
        ("Keys", str(found.keys)),
    ]
    render.report(facts, lambda: render.facts(pairs))


@app.command()
def env(home: Home = None, as_json: Json = False) -> None:
    """Show the settings in force here, and where things are kept.

    Example: JOBICO_EXECUTORS=4 jobico show env
    """
    import platform

    import msgspec

    from jobico import __version__

    settings = Settings.from_environ(home=home)
    python = platform.python_version()
    values: dict[str, Any] = msgspec.to_builtins(settings)
    places = {
        "home": str(settings.home_dir),
        "data": str(settings.home_dir / "data"),
        "logs": str(settings.logs_dir),
        "run": str(settings.run_dir),
        "modules": str(settings.modules_dir),
    }
    facts = {
        "version": __version__,
        "python": python,
        "settings": values,
        "places": places,
    }
    pairs = [("Jobico", __version__), ("Python", python)]
    pairs += [(f"{name.capitalize()} in", path) for name, path in places.items()]
    pairs += [(f"JOBICO_{name.upper()}", str(value)) for name, value in values.items() if name != "home"]
    render.report(facts, lambda: render.facts(pairs))


@app.command()
def module(tenant: Tenant, name: Ref, home: Home = None, as_json: Json = False) -> None:
    """Show a program: its ABI, imports and exports.

    Example: jobico show module acme greet.wasm
    """
    from cli.check import draw_report
    from protocol.messages import ResolveArtifact

    with connect(home) as session, session.suggesting(tenant=tenant, file=name):
        info = session.ask("repository", ResolveArtifact(tenant=tenant, kind="wasm", ref=name)).info
    render.report(info, lambda: _draw_artifact(info))
    if info.report:
        render.show(draw_report(info.report))


@app.command()
def schema(tenant: Tenant, name: Ref, home: Home = None, as_json: Json = False) -> None:
    """Show a JSON Schema.

    Example: jobico show schema acme customer.json
    """
    import json

    from protocol.messages import GetArtifact, ResolveArtifact

    with connect(home) as session, session.suggesting(tenant=tenant, file=name):
        info = session.ask("repository", ResolveArtifact(tenant=tenant, kind="json", ref=name)).info
        content = session.ask("repository", GetArtifact(tenant=tenant, digest=info.digest)).content
    value = json.loads(content)
    facts = {"tenant": tenant, "name": info.name, "digest": info.digest, "schema": value}
    render.report(facts, lambda: _draw_artifact(info))
    render.line(f"\n{render.pretty(value)}")


def _draw_artifact(info: Any) -> None:
    pairs = [
        ("Name", f"{info.tenant}/{info.name}" if info.name else info.tenant),
        ("Digest", info.digest),
        ("Size", format_size(info.size_bytes)),
        ("Uploaded", render.when(info.uploaded_ms)),
    ]
    render.show(render.facts(pairs))
