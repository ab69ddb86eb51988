"""`jobico audit`: who changed what, when, with which key."""

from typing import Annotated

import typer

from cli import render
from cli.options import Home, Json
from cli.session import connect
from jobico.audit import AuditEntry
from jobico.limits import QUERY_ROWS_MAX

__all__ = ["audit"]

_KEY_CHARS = 8


def audit(
    tenant: Annotated[
        str, typer.Argument(metavar="TENANT", help="Only what is this tenant's.", show_default=False)
    ] = "",
    count: Annotated[
        int, typer.Option("-n", "--count", min=1, max=QUERY_ROWS_MAX, metavar="N", help="How many at most.")
    ] = 50,
    before: Annotated[
        int, typer.Option("--before", min=0, metavar="NUMBER", help="Only entries before this one.")
    ] = 0,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show who changed what, when, with which key.

    The newest comes first; values of keys and secrets are never in it.

    Example: jobico audit acme -n 20
    """
    from protocol.messages import ListAudit

    items: list[AuditEntry] = []
    with connect(home) as session, session.suggesting(tenant=tenant):
        while True:
            request = ListAudit(tenant=tenant, before=before, limit=count - len(items))
            answer = session.control(request)
            items += answer.items
            before = answer.next
            if not before or len(items) >= count:
                break
    rows = [
        (
            str(item.number),
            render.when(item.at_ms),
            f"{item.role} {item.key[:_KEY_CHARS]}".rstrip(),
            item.action,
            item.subject if item.tenant in ("", item.subject) else f"{item.tenant}/{item.subject}",
            item.detail,
        )
        for item in items
    ]
    columns = ("#NUMBER", "WHEN", "WHO", "DID", "TO", "DETAIL")
    facts = {"items": items, "next": before}
    render.report(facts, lambda: render.table(columns, rows, empty="Nothing was changed yet."))
    if before:
        render.line(f"More with --before {before}.", "dim")
