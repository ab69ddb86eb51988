"""Shell completion: the script for a shell, and names of tenants, jobs and events from a running platform.

A completion never prints an error and never waits long: where the platform is away there are no names.
"""

import contextlib
from collections.abc import Iterable
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cli import render

if TYPE_CHECKING:
    from cli.session import Session

__all__ = ["complete_event", "complete_job", "complete_tenant", "completion"]

_TIMEOUT_MS = 1_000


class Shell(StrEnum):
    """The shells that are known."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.", show_default=False)],
) -> None:
    """Print what makes a shell complete commands and names.

    For bash put `eval "$(jobico completion bash)"` into ~/.bashrc.

    Example: jobico completion bash
    """
    from typer._completion_shared import get_completion_script

    script = get_completion_script(prog_name="jobico", complete_var="_JOBICO_COMPLETE", shell=shell)
    render.verbatim(script.strip())


def complete_tenant(context: typer.Context, incomplete: str) -> list[str]:
    """Names of tenants."""
    from protocol.messages import ListTenants

    names: Iterable[str] = ()
    with contextlib.suppress(Exception), _session(context) as session:
        names = [tenant.name for tenant in session.control(ListTenants(), timeout_ms=_TIMEOUT_MS).items]
    return _beginning(names, incomplete)


def complete_job(context: typer.Context, incomplete: str) -> list[str]:
    """Ids of the tenant's jobs."""
    from protocol.messages import ListJobs

    names: Iterable[str] = ()
    with contextlib.suppress(Exception), _session(context) as session:
        request = ListJobs(tenant=context.params.get("tenant") or "")
        jobs = session.control(request, timeout_ms=_TIMEOUT_MS).items
        names = [revision.definition.id for revision in jobs]
    return _beginning(names, incomplete)


def complete_event(context: typer.Context, incomplete: str) -> list[str]:
    """Ids of the tenant's events that senders may post."""
    from protocol.messages import ListJobs

    names: Iterable[str] = ()
    with contextlib.suppress(Exception), _session(context) as session:
        request = ListJobs(tenant=context.params.get("tenant") or "")
        jobs = session.control(request, timeout_ms=_TIMEOUT_MS).items
        names = [event.id for job in jobs for event in job.definition.events if not event.inline]
    return _beginning(names, incomplete)


def _session(context: typer.Context) -> "AbstractContextManager[Session]":
    from cli.session import connect

    return connect(context.params.get("home"))


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))
