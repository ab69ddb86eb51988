"""What the recorder publishes: records just committed, a message a tenant, in row order. Pure."""

from collections.abc import Iterable

from jobico.storage.executions import Stored
from protocol.messages import Feed

__all__ = ["FeedBuilder"]


class FeedBuilder:
    """Groups stored records into feed messages, and remembers the last row of each tenant.

    `previous` lets a subscriber notice a loss; after a start it is 0, which says that nobody knows.
    """

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def build(self, stored: Iterable[Stored]) -> list[Feed]:
        """The messages for records that one commit has stored."""
        by_tenant: dict[str, list[Stored]] = {}
        for one in stored:
            by_tenant.setdefault(one.record.tenant, []).append(one)
        feeds = []
        for tenant, rows in by_tenant.items():
            feeds.append(
                Feed(
                    tenant=tenant,
                    previous=self._last.get(tenant, 0),
                    rows=tuple(one.row for one in rows),
                    items=tuple(one.content for one in rows),
                )
            )
            self._last[tenant] = rows[-1].row
        return feeds
