"""Nodes as control's registry has them: plain immutable data."""

import msgspec

__all__ = ["NodeInfo"]


class NodeInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node in the registry; `endpoints` by socket: rep, pub, deliveries, settlements, records, http."""

    name: str
    role: str
    instance: str
    pid: int
    host: str
    version: str
    endpoints: dict[str, str]
    public_key: str = ""  # CURVE, Z85; with tcp
    ready: bool = False
    lost: bool = False  # no heartbeat for NODE_LOST_MS
    draining: bool = False
    started_ms: int = 0  # wall
    seen_ms: int = 0  # wall, by control's clock
    load: dict[str, float] = {}  # what the role has to say: queued, held, runs, rss_bytes …
