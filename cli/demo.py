"""`jobico demo`: the whole platform on a real webhook, from nothing to a recorded result, step by step."""

import http.client
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from cli import render
from cli.options import Json
from cli.session import Session, new_request_id
from cli.timeline import log_line
from jobico.errors import DeadlineExceeded, Internal
from jobico.settings import Settings
from jobico.units import format_duration_ms, format_size

if TYPE_CHECKING:
    from cli.startup import Started

__all__ = ["demo", "example"]

_DEFINITION = "job.yaml"
_PAYLOAD = "push.json"
_FINAL_S = 30.0
_LOOK_S = 0.01
_HTTP_S = 10.0


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the platform running, and its data.")] = False,
    executors: Annotated[
        int, typer.Option("--executors", min=1, metavar="N", help="How many guests run at once.")
    ] = 2,
    as_json: Json = False,
) -> None:
    """Show the whole platform at work on a real webhook.

    It starts a platform of its own in a temporary directory on a free port, deploys a job, posts a GitHub
    push webhook to it over HTTP, follows the event and its follow-up, and stops it all again.

    Example: jobico demo --keep
    """
    from cli.startup import start

    home = Path(tempfile.mkdtemp(prefix="jobico-demo-"))
    started = None
    kept = False
    try:
        settings = Settings.from_environ({}, home=str(home), http_port=0, executors=executors)
        render.line(f"A platform of its own, in {home}", "bold")
        started = start(settings, lambda name, ms: _step(f"{name} is ready", ms))
        facts = _show(started)
        kept = keep
        render.report(facts, lambda: _what_next(started, facts, keep))
    finally:
        if not kept:
            if started is not None:
                started.supervision.stop()
                started.process.wait()
            shutil.rmtree(home, ignore_errors=True)


def example() -> Path:
    """The folder of the example: beside this file in a wheel, in `examples` of a checkout."""
    here = Path(__file__).resolve().parent
    for folder in (here / "examples", here.parent / "examples"):
        if (folder / "github-push" / _DEFINITION).is_file():
            return folder / "github-push"
    raise Internal(f"The example is missing from this installation ({here}): install Jobico again.")


def _step(text: str, took_ms: float) -> None:
    render.line(f"  {format_duration_ms(took_ms):>8}  {text}")


def _show(started: "Started") -> dict[str, Any]:
    from cli.session import connect

    folder = example()
    with connect(str(started.settings.home_dir)) as session:
        tenant, event, key = _prepare(session, folder)
    body = (folder / _PAYLOAD).read_bytes()
    render.line()
    render.line("A webhook arrives", "bold")
    begun_s = time.monotonic()
    accepted = _request(started.url, "POST", f"/events/{tenant}/{event}", key, body)
    _step(f"POST {started.url}/events/{tenant}/{event}, {format_size(len(body))}", _since(begun_s))
    _step(f"202: checked against its schema, stored and synced as {accepted['id']}", _since(begun_s))
    status = _final(started.url, tenant, accepted["id"], key)
    _draw(status)
    follow_ups = [_final(started.url, tenant, event_id, key) for event_id in status["follow_ups"]]
    for follow_up in follow_ups:
        _draw(follow_up)
    for item in (status, *follow_ups):
        if item["outcome"] != "ok":
            raise Internal(f"The event {item['event']} ended as {item['outcome']}: {item['error']}")
    if not follow_ups:
        raise Internal("The event had no follow-up, though its definition asks for one.")
    return {
        "home": str(started.settings.home_dir),
        "url": started.url,
        "ready_ms": round(started.took_ms),
        "tenant": tenant,
        "key": key,
        "event": status,
        "follow_ups": follow_ups,
    }


def _prepare(session: Session, folder: Path) -> tuple[str, str, str]:
    """Makes the tenant, deploys the job, makes a key; returns the tenant, the event and the key."""
    from cli.deploy import deploy_file
    from jobico.definition import parse_definition
    from protocol.messages import CreateKey, CreateTenant

    definition = parse_definition((folder / _DEFINITION).read_bytes())
    tenant = definition.tenant
    render.line()
    render.line("A tenant deploys a job", "bold")
    begun_s = time.monotonic()
    session.control(CreateTenant(request_id=new_request_id(), name=tenant))
    _step(f"tenant {tenant} made", _since(begun_s))
    begun_s = time.monotonic()
    revision = deploy_file(session, folder / _DEFINITION).revision
    _step(
        f"{definition.id} deployed: definition, schema and programs checked, programs compiled",
        _since(begun_s),
    )
    for runtime, pin in revision.modules.items():
        render.line(f"            program {runtime}, ABI {pin.abi}, {pin.digest[:19]}…", "dim")
    begun_s = time.monotonic()
    key = session.change(CreateKey(request_id=new_request_id(), tenant=tenant, name="demo")).key
    _step("bearer key made", _since(begun_s))
    event = next(item.id for item in definition.events if not item.inline)
    return tenant, event, key


def _since(begun_s: float) -> float:
    return (time.monotonic() - begun_s) * 1_000


def _request(url: str, method: str, path: str, key: str, body: bytes | None = None) -> dict[str, Any]:
    """An answer over HTTP, decoded.

    Raises:
        Internal: it is not a good one.
    """
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_HTTP_S)
    try:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
    except OSError as error:
        raise Internal(f"{method} {url}{path} failed: {error}.") from error
    finally:
        connection.close()
    if answer.status not in (200, 202):
        raise Internal(
            f"{method} {url}{path} was answered {answer.status}: {content.decode('utf-8', 'replace')}"
        )
    decoded: dict[str, Any] = json.loads(content)
    return decoded


def _final(url: str, tenant: str, event_id: str, key: str) -> dict[str, Any]:
    deadline = time.monotonic() + _FINAL_S
    while True:
        status = _request(url, "GET", f"/events/{tenant}/{event_id}", key)
        if status["state"] in ("done", "dead"):
            return status
        if time.monotonic() > deadline:
            raise DeadlineExceeded(f"The event {event_id} is still {status['state']} after {_FINAL_S:.0f} s.")
        time.sleep(_LOOK_S)


def _draw(status: dict[str, Any]) -> None:
    attempt = status["attempts"][-1]
    waited_ms = attempt["leased_ms"] - status["accepted_ms"]
    run_ms = attempt["run_us"] / 1_000
    render.line()
    render.line(f"{status['event']} ran, revision {status['revision']}", "bold")
    _step(f"until {attempt['executor']} had it", waited_ms)
    _step(f"in the sandbox: {status['outcome']}", run_ms)
    _step("from accepted to recorded as done", status["finished_ms"] - status["accepted_ms"])
    if attempt.get("logs"):
        render.line("  It logged", "dim")
    for line in attempt.get("logs") or ():
        render.show(log_line(line))
    render.line("  Its result", "dim")
    for text in render.pretty(status["result"]).splitlines():
        render.line(f"  {text}")


def _what_next(started: "Started", facts: dict[str, Any], keep: bool) -> None:
    home = started.settings.home_dir
    render.line()
    render.line("Where things are", "bold")
    render.line(f"  {home}/data    queue, catalog, programs and records, one LMDB store a node")
    render.line(f"  {home}/logs    what each node logs of itself")
    render.line()
    render.line("What to type next", "bold")
    if keep:
        tenant, event = facts["tenant"], facts["event"]
        render.line(f"  export JOBICO_HOME={home}")
        render.line("  jobico status")
        render.line(f"  jobico logs {tenant} -n 5")
        render.line(f"  jobico events show {tenant} {event['id']}")
        render.line(
            f"  curl -H 'Authorization: Bearer {facts['key']}' -H 'Content-Type: application/json' "
            f"--data @{example() / _PAYLOAD} {started.url}/events/{tenant}/{event['event']}"
        )
        render.line("  jobico down")
        return
    render.line("  jobico demo --keep       the same, and the platform stays for you to look around")
    render.line("  jobico up --detach       a platform that keeps its data, in ~/.jobico")
    render.line("  jobico --help            all commands")
