"""The command `jobico`: finds the command that was asked for, runs it, and turns errors into exit codes.

0 done, 1 failed, 2 wrong usage, 130 interrupted. A command's module is imported when that command runs, so
that `jobico --help` and every command start fast; what the help lists is here.
"""

import importlib
import os
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, NoReturn

__all__ = ["COMMANDS", "Entry", "command", "main", "run"]


class Entry(NamedTuple):
    """Where a command is, and what the help says of it."""

    module: str
    attribute: str  # a function, or a typer.Typer with commands of its own
    summary: str
    panel: str


_PLATFORM = "The platform here"
_JOBS = "Jobs and what they need"
_EVENTS = "Events and what came of them"
_PROGRAMS = "Programs, without a platform"

COMMANDS = {
    "demo": Entry("cli.demo", "demo", "Show the whole platform at work on a real webhook.", _PLATFORM),
    "up": Entry("cli.up", "up", "Start the platform.", _PLATFORM),
    "down": Entry("cli.up", "down", "Stop the platform.", _PLATFORM),
    "status": Entry("cli.status", "status", "Show whether the platform is ready, node by node.", _PLATFORM),
    "node": Entry("cli.nodes", "node", "Run one node in the foreground, as supervisord does.", _PLATFORM),
    "dashboard": Entry("cli.dashboard", "dashboard", "Watch the platform live in the terminal.", _PLATFORM),
    "backup": Entry(
        "cli.backup", "backup", "Copy the platform's stores and keys to a new directory.", _PLATFORM
    ),
    "restore": Entry("cli.backup", "restore", "Make a data directory from a backup.", _PLATFORM),
    "bench": Entry("cli.bench", "bench", "Measure throughput and latency over HTTP.", _PLATFORM),
    "audit": Entry("cli.audit", "audit", "Show who changed what, when, with which key.", _PLATFORM),
    "deploy": Entry("cli.deploy", "deploy", "Deploy a job definition with the files it names.", _JOBS),
    "rollback": Entry("cli.deploy", "rollback", "Make an earlier revision of a job current again.", _JOBS),
    "undeploy": Entry("cli.deploy", "undeploy", "Withdraw a job.", _JOBS),
    "upload": Entry("cli.upload", "app", "Upload a program or a schema.", _JOBS),
    "show": Entry("cli.show", "app", "Show a job, tenant, module or schema, or the environment.", _JOBS),
    "tenants": Entry("cli.tenants", "app", "Create, list, show and delete tenants.", _JOBS),
    "keys": Entry("cli.keys", "app", "Create, list, replace and revoke bearer keys of a tenant.", _JOBS),
    "secrets": Entry("cli.secrets", "app", "Set, list and delete the secrets of a tenant.", _JOBS),
    "peers": Entry("cli.peers", "app", "Make, list, replace and revoke the keys of nodes, over tcp.", _JOBS),
    "send": Entry("cli.send", "send", "Send an event, without a key.", _EVENTS),
    "events": Entry("cli.events", "app", "Show, list and cancel events.", _EVENTS),
    "logs": Entry("cli.logs", "logs", "Show executions with what their guests logged.", _EVENTS),
    "dead-letters": Entry("cli.dead_letters", "app", "List, show, replay and purge dead letters.", _EVENTS),
    "queues": Entry("cli.queues", "queues", "Show how much waits in each queue.", _EVENTS),
    "completion": Entry(
        "cli.completion", "completion", "Print what makes a shell complete commands and names.", _PLATFORM
    ),
    "new": Entry("cli.new", "new", "Start a job with definition, schema, program and event.", _PROGRAMS),
    "run": Entry("cli.run", "run", "Run a program once, in the sandbox.", _PROGRAMS),
    "check": Entry("cli.check", "check", "Tell whether a program can run here, and how.", _PROGRAMS),
}
"""Every command, in the order of the help."""


_HELP = "Run WebAssembly programs in answer to webhooks: validated, queued durably, sandboxed, recorded."
_EXIT_FAILED = 1
_EXIT_USAGE = 2
_EXIT_INTERRUPTED = 130


def command() -> Any:
    """The whole command line, as typer has it."""
    import typer
    from typer.core import TyperCommand, TyperGroup

    from cli.options import Home

    class Commands(TyperGroup):
        """The commands of `COMMANDS`, imported when they are run; the help describes them without that."""

        describing = False

        def list_commands(self, ctx: Any) -> list[str]:
            return list(COMMANDS)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            entry = COMMANDS.get(cmd_name)
            if entry is None:
                return None
            if self.describing:
                return TyperCommand(cmd_name, help=entry.summary, rich_help_panel=entry.panel)
            return _load(cmd_name, entry)

        def format_help(self, ctx: Any, formatter: Any) -> None:
            self.describing = True
            super().format_help(ctx, formatter)

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            self.commands = dict.fromkeys(COMMANDS, TyperCommand(""))  # what mistyped names are held against
            return super().resolve_command(ctx, args)

    app = typer.Typer(
        cls=Commands, help=_HELP, add_completion=False, no_args_is_help=True, rich_markup_mode="rich"
    )

    @app.callback()
    def jobico(
        home: Home = None,
        version: Annotated[
            bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
        ] = False,
    ) -> None:
        """Has the options that stand before a command."""
        if home:
            os.environ["JOBICO_HOME"] = home  # where the command's own option looks

    return _polished(typer.main.get_command(app))


def _version(value: bool) -> None:
    if value:
        import typer

        from cli import render
        from jobico import __version__

        render.report({"version": __version__}, lambda: render.styled(f"jobico {__version__}"))
        raise typer.Exit


def _polished(command: Any) -> Any:
    """The command, its help without line breaks inside paragraphs, nor `<bool>` beside flags."""
    import typer

    command.help = re.sub(r"(?<!\n)\n(?!\n)", " ", command.help or "")
    for option in (*command.params, command.get_help_option(typer.Context(command))):
        if getattr(option, "is_flag", False) and option.metavar is None:
            option.metavar = ""
    for child in getattr(command, "commands", {}).values():
        _polished(child)
    return command


def _load(name: str, entry: Entry) -> Any:
    import typer

    target = getattr(importlib.import_module(entry.module), entry.attribute)
    if isinstance(target, typer.Typer):
        target.info.help = entry.summary
        target.info.no_args_is_help = True
    else:
        function, target = target, typer.Typer(add_completion=False)
        target.command(name)(function)
    command = typer.main.get_command(target)
    command.name = name
    return _polished(command)


def run(arguments: Sequence[str]) -> int:
    """Runs a command; returns the exit code."""
    if len(arguments) == 2 and arguments[0] == "node" and not arguments[1].startswith("-"):
        # PERF: a node needs no parser of command lines: 60 ms and 6 MB less for each.
        from cli.node import run_node

        return run_node(arguments[1])
    from cli import render
    from jobico.errors import Internal, JobicoError

    try:
        return _run_command(arguments)
    except JobicoError as error:
        render.fail(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        render.fail(Internal(f"{name}{error.strerror or error}."))
    return _EXIT_FAILED


def _run_command(arguments: Sequence[str]) -> int:
    import typer

    if "_JOBICO_COMPLETE" in os.environ:
        from typer._completion_classes import completion_init

        completion_init()
    try:
        answer = command().main(list(arguments), prog_name="jobico", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return _EXIT_INTERRUPTED
    except typer.TyperException as error:
        _say_what_is_wrong(error, arguments)
        return error.exit_code
    return answer if isinstance(answer, int) else 0


def _say_what_is_wrong(error: Any, arguments: Sequence[str]) -> None:
    from cli import render
    from jobico.errors import Internal, InvalidInput

    render.use_json(render.as_json() or "--json" in arguments)  # what is wrong may stand before it
    context = getattr(error, "ctx", None)
    hint = f"See `{context.command_path} --help`." if context else ""
    if error.exit_code != _EXIT_USAGE:
        render.fail(Internal(error.format_message()))
    elif error.message:  # not where help was all that was missing
        render.fail(InvalidInput(error.format_message()), hint=hint)


def main() -> NoReturn:
    """The console script."""
    sys.exit(run(sys.argv[1:]))
