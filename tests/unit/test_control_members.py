"""What control tells a tenant of the nodes."""

from jobico.registry import NodeInfo
from nodes.control.members import _reachable


def test_a_tenant_is_told_where_a_node_is_and_nothing_of_others() -> None:
    node = NodeInfo(
        name="recorder",
        role="recorder",
        instance="i",
        pid=7,
        host="secret-host",
        version="1",
        endpoints={"rep": "tcp://h:1", "pub": "tcp://h:2", "records": "tcp://h:3"},
        public_key="k" * 40,
        ready=True,
        load={"records": 9.0},
    )
    told = _reachable(node)
    assert told.endpoints == {"rep": "tcp://h:1", "pub": "tcp://h:2"}
    assert (told.public_key, told.ready) == (node.public_key, True)
    assert (told.pid, told.host, told.load) == (0, "", {})
