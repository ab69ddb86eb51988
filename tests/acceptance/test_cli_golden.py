"""What each command prints, for its success and its main errors, held against `golden/cli.txt`.

`GOLDEN_UPDATE=1 pytest tests/acceptance/test_cli_golden.py` writes the file anew: read its diff.
"""

import os
import re
from pathlib import Path

import pytest
from acceptance_kit import EXAMPLE, Platform, run_cli, until

GOLDEN = Path(__file__).parent / "golden" / "cli.txt"

_VARYING = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "<id>"),
    (r"sha256:[0-9a-f]{12,64}", "sha256:<digest>"),
    (r"\b[0-9a-f]{64}\b", "<digest>"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \([^)]*\)", "<when>"),
    (r"\d\d:\d\d:\d\d\.\d{3}", "<clock>"),
    (r"\+?\b\d+(\.\d+)? (ms|s|m|h)\b", "<duration>"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:<port>"),
    (r"is process \d+", "is process <pid>"),
    (r"executor-\d", "executor-<n>"),
    (r"jbc_\w_[\w-]{43}", "<key>"),
    (r"\bk[0-9a-f]{12}\b", "<key id>"),
    (r"[·█]+", "<chart>"),
    (r"─+", "─"),
    (r"  +", "  "),
    (r" +$", ""),
)


def _steady(text: str, platform: Platform, folder: Path) -> str:
    """The output without what differs from run to run; columns are a fixed two spaces apart."""
    text = text.replace(str(folder), "FOLDER").replace(str(platform.home), "HOME")
    for pattern, replacement in _VARYING:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return text


def _scenario(platform: Platform, folder: Path) -> str:
    """Runs every command once or more, in an order that makes sense, and returns all that they print."""
    shown: list[str] = []

    def say(*arguments: str, stdin: str = "") -> str:
        ran = run_cli(*arguments, home=platform.home, stdin=stdin)
        command = _steady(" ".join(arguments), platform, folder)
        out, err = (_steady(text, platform, folder).rstrip() for text in (ran.out, ran.err))
        parts = [f"$ jobico {command}", out, *(f"! {line}" for line in err.splitlines())]
        shown.append("\n".join(filter(None, [*parts, f"= {ran.code}" if ran.code else ""])))
        return ran.out

    definition = folder / "job.yaml"
    wrong = folder / "wrong.yaml"
    wrong.write_text(definition.read_text().replace("runtime: notify", "runtime: notfy"))
    missing = folder / "missing.yaml"
    missing.write_text(definition.read_text().replace("notify.wasm", "nowhere.wasm"))
    changed = folder / "changed.yaml"
    changed.write_text(definition.read_text().replace("attempts: 3", "attempts: 4"))

    say("tenants", "list")
    say("tenants", "create", "demo", "--weight", "2")
    say("tenants", "create", "demo")
    say("tenants", "list")
    say("deploy", str(wrong))
    say("deploy", str(missing))
    say("deploy", str(folder / "no.yaml"))
    say("deploy", str(definition))
    say("deploy", str(definition))
    say("deploy", str(changed))
    say("deploy", str(changed), "--update", "--dry-run")
    say("deploy", str(changed), "--update")
    say("rollback", "demo", "github-push")
    say("rollback", "demo", "github-push", "--to", "9")
    say("tenants", "show", "demo")
    say("show", "tenant", "dmeo")
    say("show", "job", "demo", "github-push")
    say("show", "job", "demo", "github-pull")
    say("show", "module", "demo", "summarise.wasm")
    say("show", "module", "demo", "summarize.wasm")
    say("upload", "wasm", "demo", "mine.wasm", str(folder / "notify.wasm"))
    say("upload", "wasm", "demo", "mine.wasm", str(definition))
    say("upload", "json", "demo", "mine.json", str(folder / "push.schema.json"))
    say("keys", "list", "demo")
    say("keys", "create", "demo", "--role", "send", "--name", "website")
    say("keys", "list", "demo")
    say("keys", "rotate", "demo", "k000000000000")
    say("secrets", "list", "demo")
    say("secrets", "set", "demo", "HOOK", stdin="")
    say("secrets", "set", "demo", "HOOK", stdin="one")
    say("secrets", "set", "demo", "HOOK", "--add", stdin="two")
    say("secrets", "list", "demo")
    say("secrets", "delete", "demo", "HOOK")
    say("secrets", "delete", "demo", "HOOK", "--yes")
    say("audit", "demo", "-n", "4")
    say("send", "demo", "push", "-", stdin="{}")
    say("send", "demo", "push", "-", stdin="{")
    say("send", "demo", "psh", "-", stdin="{}")
    say("send", "demo", "push", str(folder / "push.json"), "--wait")
    until(lambda: platform.cli("logs", "demo", "--json").out.count("\n") >= 2, 10, "both are recorded")
    say("logs", "demo")
    say("logs", "demo", "--event", "push-summarised")
    say("logs", "demo", "--status", "failed")
    say("events", "list", "demo")
    say("events", "show", "demo", "0190c8b5-7e2a-7cc0-b1c9-3f0e6a1f2b3c")
    say("events", "show", "demo", "no-id")
    say("queues", "demo")
    say("dead-letters", "list", "demo")
    say("dead-letters", "purge", "demo")
    say("undeploy", "demo", "github-push")
    say("undeploy", "demo", "github-push")
    say("tenants", "delete", "demo")
    say("tenants", "delete", "demo", "--yes")
    say("check", str(folder / "summarise.wasm"))
    say("check", str(definition))
    say("run", str(folder / "summarise.wasm"), "-e", str(folder / "push.json"))
    say("run", str(folder / "summarise.wasm"), "--time", "never")
    say("new", "cobol", "mine")
    say("completion", "tcsh")
    say("peers", "list")
    say("peers", "revoke", "nobody")
    platform.cli("backup", str(folder / "saved"))  # its figures differ from run to run
    say("backup", str(folder / "saved"))
    say("restore", str(folder / "saved"))
    say("restore", str(folder / "nothing"))
    say("up", "--detach")
    say("node", "nobody")
    say("bench", "--connections", "0")
    say("dashboard", "--port", "none")
    say("status", "--no")
    say("down", "--no")
    say("demo", "--executors", "0")
    return "\n\n".join(shown) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the example."""
    for file in EXAMPLE.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_every_command_prints_what_it_printed(own_platform: Platform, folder: Path) -> None:
    said = _scenario(own_platform, folder)
    if os.environ.get("GOLDEN_UPDATE"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(said)
    assert said == GOLDEN.read_text()
