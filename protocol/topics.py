"""The topics of the PUB feeds.

    c/          control: every change
    x/TENANT/   recorder: the records of one tenant

A subscription is to all topics that begin with it. A name cannot hold the `/` (`jobico.ids.check_name`), so
the topic of one tenant never begins with that of another.
"""

from typing import Final

__all__ = ["CONTROL_TOPIC", "feed_topic"]

CONTROL_TOPIC: Final = "c/"
"""The topic of control's changes."""


def feed_topic(tenant: str = "") -> str:
    """The topic of a tenant's records; with no tenant, what the topics of all begin with."""
    return f"x/{tenant}/" if tenant else "x/"
