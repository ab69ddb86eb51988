"""`jobico status`: whether the platform is ready, node by node; it works while parts are down."""

import time
from typing import Annotated, Any

import typer

from cli import render
from cli.options import Home, Json
from cli.session import Session, connect
from cli.supervision import NodeProcess, Supervision, expected_nodes
from jobico.errors import JobicoError
from jobico.registry import NodeInfo
from jobico.units import format_duration_ms, format_size

__all__ = ["describe", "status"]

_ASK_MS = 1_000
_PING_MS = 300
_ROLES_ASKED = ("control", "repository", "recorder", "listener")  # an executor answers no requests


def status(
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it again each second until Ctrl-C.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show whether the platform is ready, node by node.

    The exit code is 0 if it is ready, 1 if it is not.

    Example: jobico status --json
    """
    with connect(home) as session:
        while True:
            found = describe(session)
            if watch:
                render.clear()
            render.report(found, lambda found=found: _draw(found))  # type: ignore[misc]
            if not watch:
                break
            time.sleep(1)
    if not found["ready"]:
        raise typer.Exit(1)


def describe(session: Session) -> dict[str, Any]:
    """What `--json` prints: `ready`, `home`, `listener.url`, `control` (is it there) and `nodes`."""
    supervision = Supervision(session.settings)
    processes = {item.name: item for item in supervision.processes()}
    try:
        registry: dict[str, NodeInfo] | None = {node.name: node for node in session.nodes(_ASK_MS)}
    except JobicoError:
        registry = None
    roles = {name: name.rpartition("-")[0] or name for name in processes} or _expected(session, supervision)
    roles = {**{name: node.role for name, node in (registry or {}).items()}, **roles}
    nodes = [
        _node(session, name, roles[name], registry, processes.get(name)) for name in sorted(roles, key=_order)
    ]
    url = next((node.endpoints["http"] for node in (registry or {}).values() if "http" in node.endpoints), "")
    return {
        "ready": bool(nodes) and all(node["ready"] for node in nodes),
        "home": str(session.settings.home_dir),
        "supervisord_pid": supervision.pid(),
        "listener": {"url": url or supervision.url()},
        "nodes": nodes,
    }


def _expected(session: Session, supervision: Supervision) -> dict[str, str]:
    """The nodes there should be where supervisord does not say."""
    if supervision.pid() is None:
        return {}
    import msgspec

    return expected_nodes(msgspec.structs.replace(session.settings, executors=supervision.executors()))


def _order(name: str) -> tuple[int, str, int]:
    role, _, number = name.rpartition("-")
    first = ("control", "repository", "recorder", "listener", "executor")
    kind = role or name
    return (
        first.index(kind) if kind in first else len(first),
        kind,
        int(number) if number.isdecimal() else 0,
    )


def _node(
    session: Session, name: str, role: str, registry: dict[str, NodeInfo] | None, process: NodeProcess | None
) -> dict[str, Any]:
    info = (registry or {}).get(name)
    running = process is None or process.state == "RUNNING" or bool(process.pid)
    if registry is None:
        ready, state = _ping(session, name, role)
    else:
        ready = info is not None and info.ready and not info.lost
        state = _state(info)
    if not running:
        ready, state = False, "down"
    facts = {
        "name": name,
        "role": role,
        "pid": process.pid if process is not None else info.pid if info else 0,
        "ready": ready,
        "state": state,
        "version": info.version if info else "",
        "host": info.host if info else "",
        "started_ms": info.started_ms if info else 0,
        "seen_ms": info.seen_ms if info else 0,
        "load": dict(info.load) if info else {},
        "endpoints": dict(info.endpoints) if info else {},
    }
    if process is not None:
        facts["supervisor"] = process.state.lower()
        if not running:
            facts["problem"] = process.said
    return facts


def _state(info: NodeInfo | None) -> str:
    if info is None:
        return "starting"
    if info.lost:
        return "lost"
    if info.draining:
        return "draining"
    return "ready" if info.ready else "starting"


def _ping(session: Session, name: str, role: str) -> tuple[bool, str]:
    """Whether a node is ready, by itself: control cannot say."""
    from protocol.messages import Ping

    if role not in _ROLES_ASKED:
        return False, "unknown"
    try:
        ready = session.ask(name, Ping(), _PING_MS).ready
    except JobicoError:
        return False, "down"
    return ready, "ready" if ready else "starting"


def _draw(found: dict[str, Any]) -> None:
    if not found["nodes"]:
        render.line(f"No platform is running in {found['home']}: start it with `jobico up`.")
        return
    render.line(
        f"{'Ready' if found['ready'] else 'Not ready'}: {found['listener']['url']}",
        "bold green" if found["ready"] else "bold red",
    )
    rows = [
        (
            node["name"],
            render.state(node["state"]),
            str(node["pid"] or "-"),
            format_duration_ms(time.time() * 1_000 - node["started_ms"]) if node["started_ms"] else "-",
            format_size(node["load"]["rss_bytes"]) if "rss_bytes" in node["load"] else "-",
            node.get("problem", "") or _load(node["load"]),
        )
        for node in found["nodes"]
    ]
    render.line()
    render.report(
        None, lambda: render.table(("NODE", "STATE", "#PID", "#UP", "#MEMORY", "LOAD"), rows, empty="")
    )


def _load(load: dict[str, float]) -> str:
    hidden = ("rss_bytes", "cpu_s", "threads", "files")
    return "  ".join(f"{name} {value:,.0f}" for name, value in load.items() if name not in hidden and value)
