"""`--json` prints what `docs/operating.md` says it does."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from acceptance_kit import EXAMPLE, ROOT, Platform, run_cli, until

_ROWS = re.findall(
    r"^\| `([a-z -]+)` \| (.*) \|$", (ROOT / "docs" / "operating.md").read_text(), re.MULTILINE
)
DOCUMENTED = {command: set(re.findall(r"`(\w+)`", text)) for command, text in _ROWS}


@pytest.fixture(scope="module")
def told(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each command told, by its name."""
    folder = tmp_path_factory.mktemp("shapes")
    for file in EXAMPLE.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    definition = folder / "job.yaml"
    definition.write_text(definition.read_text().replace("tenant: demo", "tenant: shapes"))

    def tell(*arguments: str) -> Any:
        return platform.cli(*arguments, "--json").json

    found = {
        "status": tell("status"),
        "tenants create": tell("tenants", "create", "shapes"),
        "deploy": tell("deploy", str(definition)),
        "keys create": tell("keys", "create", "shapes"),
        "keys list": tell("keys", "list", "shapes"),
        "secrets set": tell("secrets", "set", "shapes", "WORD", "x"),
        "secrets list": tell("secrets", "list", "shapes"),
        "audit": tell("audit", "shapes"),
        "show job": tell("show", "job", "shapes", "github-push"),
        "send": tell("send", "shapes", "push", str(folder / "push.json")),
        "events list": tell("events", "list", "shapes"),
        "queues": tell("queues", "shapes"),
        "dead-letters list": tell("dead-letters", "list", "shapes"),
        "run": tell("run", str(folder / "summarise.wasm"), "-e", str(folder / "push.json")),
        "check": tell("check", str(folder / "summarise.wasm")),
        "down": run_cli("down", "--json", home=folder).json,
    }
    found["keys rotate"] = tell("keys", "rotate", "shapes", found["keys create"]["id"])
    event_id = found["send"]["id"]
    until(lambda: tell("events", "show", "shapes", event_id)["state"] == "done", 10, "the event is done")
    found["events show"] = tell("events", "show", "shapes", event_id)
    found["logs"] = json.loads(until(lambda: _logged(platform), 10, "it is recorded")[0])
    return found


def _logged(platform: Platform) -> list[str]:
    return platform.cli("logs", "shapes", "--json").out.splitlines()


@pytest.mark.parametrize("command", sorted(set(DOCUMENTED) - {"up"}))
def test_every_field_is_documented_and_there(told: dict[str, Any], command: str) -> None:
    value = told[command][0] if isinstance(told[command], list) else told[command]
    nested = set(DOCUMENTED[command]) - set(value)
    assert set(value) <= DOCUMENTED[command]
    optional = {"ids", "problem", "ok"} if command in ("send", "status", "run") else set()
    assert nested <= optional | _inner(value)


def _inner(value: Any) -> set[str]:
    """The keys of all maps within, or those that an empty list of items would have."""
    found: set[str] = set()
    for item in value.values():
        for child in item if isinstance(item, list) else [item]:
            if isinstance(child, dict):
                found |= set(child) | _inner(child)
    if value.get("items") == []:
        found |= set.union(*(DOCUMENTED[name] for name in ("events list", "queues", "dead-letters list")))
    return found


def test_the_data_directory_of_up_is_told(platform: Platform) -> None:
    assert DOCUMENTED["up"] == {"ready", "url", "home", "ready_ms"}
    assert Path(platform.status()["home"]) == platform.home
