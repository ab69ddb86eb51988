"""A node that takes everything, in a process of its own: `python victim_node.py HOME ipc|tcp`.

It prints where its sockets are as one line of JSON, and ends when its standard input does.
"""

import json
import logging
import sys
import threading
from typing import Any

import structlog

from jobico.settings import Settings, Transport
from protocol.authorisation import Caller
from protocol.key_files import local_peers
from protocol.messages import (
    Artifact,
    ArtifactContent,
    ArtifactInfo,
    GetArtifact,
    GetTotals,
    Ping,
    Pong,
    PutArtifact,
    Recorded,
    Records,
    Totals,
)
from protocol.publishing import Publisher
from protocol.server import Reactor
from protocol.sockets import Wire, advertised, endpoint
from protocol.topics import feed_topic

CONTENT = bytes(4 << 20)


def main(home: str, transport: str) -> None:
    """Runs the node."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    settings = Settings(home=home, transport=Transport(transport))
    wire = Wire(settings, "control")
    if wire.keyring is not None:
        wire.keyring.replace(local_peers(settings.keys_dir))
    reactor = Reactor(wire)
    rep, pull = wire.rep(_at(settings, "rep")), wire.pull(_at(settings, "records"))
    publisher = Publisher(wire, _at(settings, "pub"))
    taken: list[int] = []

    def put(message: PutArtifact, _caller: Caller) -> Artifact:
        size = len(message.content)
        info = ArtifactInfo(
            tenant=message.tenant, kind="wasm", name="", digest="", size_bytes=size, uploaded_ms=0
        )
        return Artifact(info=info)

    handlers: dict[Any, Any] = {
        Ping: lambda *_: Pong(node="victim", ready=True),
        GetTotals: lambda *_: Totals(final={"taken": len(taken)}, records=reactor.refused, kept_bytes=0),
        GetArtifact: lambda *_: ArtifactContent(content=CONTENT),
        PutArtifact: put,
    }
    reactor.on_request(rep, handlers)
    reactor.on_message(pull, {Records: lambda message: taken.append(message.first)})
    reactor.publish_with(publisher)
    reactor.every(20, lambda: publisher.send(feed_topic("acme"), Recorded(upto=1)))
    places = {"rep": rep, "records": pull, "pub": publisher.socket}
    sys.stdout.write(
        json.dumps({name: advertised(settings, socket) for name, socket in places.items()}) + "\n"
    )
    sys.stdout.flush()
    threading.Thread(target=lambda: (sys.stdin.read(), reactor.stop()), daemon=True).start()
    reactor.run()
    wire.close()


def _at(settings: Settings, socket: str) -> str:
    if settings.transport == Transport.TCP:
        return "tcp://127.0.0.1:*"
    return endpoint(settings, "control", socket)


if __name__ == "__main__":
    main(*sys.argv[1:])
