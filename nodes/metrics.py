"""Counts and times of a node for Prometheus. It owns the names of the metrics; it never labels by tenant.

SECURITY: `/metrics` asks for no key, so nothing in it may name a tenant, an event or a key.
"""

import resource
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from jobico.registry import NodeInfo

__all__ = ["CONTENT_TYPE", "ListenerMetrics"]

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)


class ListenerMetrics:
    """What the listener counts itself, and what the registry says of all nodes, read when asked.

    Args:
        load: What the dispatcher says of its queue.
        nodes: The nodes of the registry.
    """

    def __init__(
        self, load: Callable[[], Mapping[str, float]], nodes: Callable[[], Iterable[NodeInfo]]
    ) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "jobico_http_requests", "HTTP requests by status.", ["status"], registry=self._registry
        )
        self._by_status: dict[int, Counter] = {}
        self._accepted = Counter("jobico_events_accepted", "Events stored.", registry=self._registry)
        self._duration = Histogram(
            "jobico_http_accept_seconds",
            "Time from a request's headers to its events being synced to disk.",
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        self._registry.register(_Nodes(load, nodes))

    def answered(self, status: int) -> None:
        """Counts an answer."""
        # PERF: finding a labelled child takes longer than counting.
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._by_status[status] = self._requests.labels(str(status))
        counter.inc()

    def accepted(self, events: int, duration_s: float) -> None:
        """Counts events that one request stored, and the time it took."""
        self._accepted.inc(events)
        self._duration.observe(duration_s)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _Nodes(Collector):
    def __init__(
        self, load: Callable[[], Mapping[str, float]], nodes: Callable[[], Iterable[NodeInfo]]
    ) -> None:
        self._load = load
        self._nodes = nodes

    def collect(self) -> Iterable[Metric]:
        """The queue now, the memory of this process, and the last word of each node."""
        queue = GaugeMetricFamily(
            "jobico_queue", "What the event queue of this listener holds.", labels=["what"]
        )
        for name, value in self._load().items():
            queue.add_metric([name], value)
        yield queue
        yield GaugeMetricFamily(
            "jobico_resident_bytes_max",
            "Most memory that this process has used.",
            value=_resident_bytes_max(),
        )
        ready = GaugeMetricFamily("jobico_node_ready", "1 where a node is ready.", labels=["node", "role"])
        load = GaugeMetricFamily(
            "jobico_node_load", "What a node says of itself.", labels=["node", "role", "what"]
        )
        for node in self._nodes():
            ready.add_metric([node.name, node.role], float(node.ready and not node.lost))
            for name, value in node.load.items():
                load.add_metric([node.name, node.role, name], value)
        yield ready
        yield load


def _resident_bytes_max() -> int:
    unit_bytes = 1 if sys.platform == "darwin" else 1_024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes
