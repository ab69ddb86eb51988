"""`jobico run`: a program once, in the same sandbox that executors use, without a platform."""

import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import render
from cli.files import read_file, read_input
from cli.options import Home, Json
from cli.timeline import log_line
from jobico import limits
from jobico.errors import InvalidInput, TooLarge
from jobico.settings import Settings
from jobico.units import format_duration_ms, format_size, parse_duration_ms, parse_size_bytes

if TYPE_CHECKING:
    from jobico.definition import GuestLimits, RuntimeSpec
    from jobico.sandbox.engine import Result, Sandbox

__all__ = ["run"]

_WATCH_S = 0.1


def run(
    module: Annotated[Path, typer.Argument(metavar="MODULE", help="The program.", show_default=False)],
    event: Annotated[
        str | None,
        typer.Option("-e", "--event", metavar="FILE|-", help="The event; - reads stdin.", show_default="{}"),
    ] = None,
    function: Annotated[
        str, typer.Option("--function", metavar="NAME", help="Its entry point, for the ABI jobicolet.")
    ] = "event",
    env: Annotated[
        list[str] | None, typer.Option("--env", metavar="K=V", help="A variable; may be given several times.")
    ] = None,
    time_limit: Annotated[str, typer.Option("--time", metavar="TIME", help="How long it may run.")] = "5s",
    memory: Annotated[str, typer.Option("--memory", metavar="SIZE", help="How much it may use.")] = "64MiB",
    fuel: Annotated[
        int, typer.Option("--fuel", min=0, metavar="N", help="How many units it may use; 0 counts none.")
    ] = 0,
    watch: Annotated[
        bool,
        typer.Option("--watch", "-w", help="Run again when the program or the event changes, until Ctrl-C."),
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Run a program once, in the sandbox.

    The exit code is 0 only if its outcome is ok.

    Example: jobico run greet.wasm -e customer.json --env GREETING=hello
    """
    settings = Settings.from_environ(home=home)
    bounds = _limits(time_limit, memory, fuel)
    variables = _variables(env or [])
    files = [module] if event in (None, "-") else [module, Path(event or "")]
    payload = b"{}" if event is None else read_input(event, limits.BODY_BYTES_MAX)
    while True:
        seen = _changed_ns(files)
        content = read_file(module, limits.COMPONENT_BYTES_MAX)
        if len(files) > 1:
            payload = read_file(files[1], limits.BODY_BYTES_MAX)
        facts = _attempt(settings, module.name, content, payload, function, bounds, variables)
        _print(facts)
        if not watch:
            break
        while _changed_ns(files) in (seen, None):
            time.sleep(_WATCH_S)
    if facts["outcome"] != "ok":
        raise typer.Exit(1)


def _changed_ns(files: list[Path]) -> tuple[int, ...] | None:
    """When each file was last written; None while one is being replaced."""
    try:
        return tuple(file.stat().st_mtime_ns for file in files)
    except OSError:
        return None


def _limits(time_limit: str, memory: str, fuel: int) -> "GuestLimits":
    from jobico.definition import GuestLimits

    time_ms, memory_bytes = parse_duration_ms(time_limit), parse_size_bytes(memory)
    if not 0 < time_ms <= limits.GUEST_TIME_MS_MAX:
        raise TooLarge(
            f"--time {time_limit} is not above 0 and at most {limits.GUEST_TIME_MS_MAX // 1_000}s."
        )
    if not 0 < memory_bytes <= limits.GUEST_MEMORY_BYTES_MAX:
        raise TooLarge(
            f"--memory {memory} is not above 0 and at most {limits.GUEST_MEMORY_BYTES_MAX // limits.MIB}MiB."
        )
    return GuestLimits(time_ms=time_ms, memory_bytes=memory_bytes, fuel=fuel)


def _variables(entries: list[str]) -> dict[str, str]:
    variables = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not name or not equals:
            raise InvalidInput(f"--env {entry!r} is not NAME=VALUE.")
        variables[name] = value
    return variables


def _attempt(
    settings: Settings,
    name: str,
    content: bytes,
    payload: bytes,
    function: str,
    bounds: "GuestLimits",
    variables: dict[str, str],
) -> dict[str, Any]:
    from jobico.definition import Abi, RuntimeSpec
    from jobico.ids import digest_of
    from jobico.sandbox.engine import Sandbox

    sandbox = Sandbox(settings.modules_dir)
    try:
        report = sandbox.cache.prepare(content, function)
        if not report.valid:
            return _facts("abi-error", report.abi, error=" ".join(report.problems))
        spec = RuntimeSpec(
            name=name,
            digest=digest_of(content),
            abi=Abi(report.abi),
            function=function,
            limits=bounds,
            env=variables,
        )
        result = _watched(sandbox, spec, content, payload)
    finally:
        sandbox.close()
    return _facts(
        str(result.outcome),
        report.abi,
        code=result.code,
        result=_json_or_text(result.result),
        error=result.error,
        logs=[{"level": str(line.level), "message": line.message} for line in result.logs],
        logs_dropped=result.logs_dropped,
        duration_ms=round(result.run_us / 1_000, 3),
        fuel=result.fuel,
        memory_bytes=result.memory_bytes,
        emitted=[{"event": item.event, "payload": _json_or_text(item.payload)} for item in result.emitted],
    )


def _watched(sandbox: "Sandbox", spec: "RuntimeSpec", content: bytes, payload: bytes) -> "Result":
    """Runs it; ends this process where the guest sits in a host call past its deadline, as executors do."""
    from jobico.ids import new_event_id
    from jobico.sandbox.attempt import Job

    done = threading.Event()

    def watch() -> None:
        while not done.wait(_WATCH_S):
            if sandbox.overdue_ms() > limits.WATCHDOG_GRACE_MS:
                took_ms = spec.limits.time_ms + sandbox.overdue_ms()
                _print(
                    _facts(
                        "timeout",
                        str(spec.abi),
                        error="It sat in a host call past its deadline.",
                        duration_ms=took_ms,
                    )
                )
                sys.stdout.flush()
                os._exit(1)

    watchdog = threading.Thread(target=watch, name="watchdog", daemon=True)
    watchdog.start()
    job = Job(id=new_event_id(), tenant="local", event="run", attempt=1, payload=payload)
    try:
        return sandbox.run(spec, job, lambda digest: content)
    finally:
        done.set()
        watchdog.join()


def _facts(outcome: str, abi: str, **more: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "outcome": outcome,
        "code": 0,
        "result": None,
        "error": "",
        "logs": [],
        "logs_dropped": 0,
        "duration_ms": 0.0,
        "abi": abi,
        "fuel": 0,
        "memory_bytes": 0,
        "emitted": [],
    }
    return facts | more


def _json_or_text(content: bytes) -> Any:
    import json

    try:
        return json.loads(content)
    except ValueError:
        return content.decode("utf-8", "replace")


def _print(facts: dict[str, Any]) -> None:
    render.report(facts, lambda: _draw(facts))


def _draw(facts: dict[str, Any]) -> None:
    code = f" {facts['code']}" if facts["code"] else ""
    memory = f", {format_size(facts['memory_bytes'])}" if facts["memory_bytes"] else ""
    took = f"  {format_duration_ms(facts['duration_ms'])}{memory}, ABI {facts['abi']}"
    render.line(f"{facts['outcome']}{code}{took}", render.STATE_STYLES.get(facts["outcome"], "bold red"))
    for entry in facts["logs"]:
        render.show(log_line(entry))
    if facts["error"]:
        render.line(facts["error"], "red")
    if facts["result"] is not None:
        render.line(render.pretty(facts["result"]))
