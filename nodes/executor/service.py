"""The executor node: deliveries in, guests run, settlements out.

It owns nothing that must outlive it: it can be killed at any time. Its sockets belong to one thread, the
loop; guests run in the main thread; modules that are new here are fetched and compiled beside both.

    listener ══Hello, Deliveries, Abort══▶ loop ──Holding──▶ main thread: Sandbox
    listener ◀══Welcome, Settlements, Renewal, Returned══ loop ◀──Holding──┘
"""

import os
import time
from collections.abc import Iterable
from typing import Final

from jobico.clock import SystemClock
from jobico.event import Outcome, Settlement
from jobico.ids import digest_of
from jobico.limits import CALL_TIMEOUT_MS, LEASE_RENEW_MS, RETURN_AFTER_MS, WATCHDOG_GRACE_MS
from jobico.logs import Action, get_logger
from jobico.sandbox.engine import Sandbox
from jobico.settings import Settings
from nodes.beat import Beat
from nodes.executor.holding import Holding, TokensByListener
from nodes.executor.modules import Modules
from nodes.executor.runner import UNUSABLE, Runner
from nodes.lifecycle import Node, run_node
from nodes.links import Links
from nodes.peers import Peers
from nodes.secrets import SecretTable, opening
from nodes.snapshot import Follower, Tables
from protocol.client import Client
from protocol.messages import (
    Abort,
    Deliveries,
    GetArtifact,
    Hello,
    Renewal,
    Returned,
    Settlements,
    Welcome,
)
from protocol.server import Reactor
from protocol.sockets import Socket, advertised, endpoint

__all__ = ["main", "serve"]

_TICK_MS: Final = 5
_AWAY_TICK_MS: Final = 50
_HAND_BACK_MS: Final = 1_000
_FLUSH_MS: Final = 1_000
_REACH_MS: Final = 1_000
_MODULES_STOP_S: Final = 2.0
_EXIT_OVERDUE: Final = 75


def main(settings: Settings) -> int:
    """Runs the node in the foreground until it is told to stop; returns its exit code."""
    return run_node(settings, "executor", serve)


def serve(node: Node) -> None:
    """Runs guests until the node drains."""
    _Executor(node).run()


class _Executor:
    def __init__(self, node: Node) -> None:
        settings = node.settings
        self._node = node
        self._log = get_logger()
        self._clock = SystemClock()
        self._peers = Peers(settings)
        self._secrets = SecretTable(opening(settings.keys_dir))
        self._holding = Holding()
        self._reactor = Reactor(node.wire)
        self._links = Links(node.wire, self._peers)
        self._sandbox = Sandbox(settings.modules_dir)
        self._modules = Modules(
            self._sandbox.prepare,
            self._fetch,
            on_here=self._module_here,
            on_away=lambda key: self._reactor.call_soon_threadsafe(lambda: self._hand_back(key)),
        )
        self._runner = Runner(
            self._holding,
            self._sandbox,
            self._modules,
            self._secrets,
            self._clock,
            settled=lambda: self._reactor.call_soon_threadsafe(self._collect),
            unusable=lambda: self._reactor.call_soon_threadsafe(self._rest),
            # Told at once: a listener that knows it sends others past the delivery that waits for its module.
            parked=lambda: self._reactor.call_soon_threadsafe(self._renew),
            spent=node.drain,  # supervisord starts it again
        )
        self._ticking = False
        self._drain_until_ms = 0
        self._follower = Follower(
            settings,
            node.wire,
            settings.data_dir(node.name) / "control.snapshot",
            self._take_change,
            self._take_tables,
        )
        self._beat = Beat(settings, node.wire, node.info, self._follower.seen)

    def run(self) -> None:
        """Runs guests in this thread until the node drains."""
        node, settings = self._node, self._node.settings
        # NOTE: the socket moves to the thread of the loop whole: the thread's start is the fence it needs.
        pull = node.wire.pull(endpoint(settings, node.name, "deliveries"))
        node.endpoints["deliveries"] = advertised(settings, pull)
        node.load = self._load
        node.seq = lambda: self._follower.seq
        node.on_ready_changed(self._beat.nudge)
        node.on_drain(lambda: self._reactor.call_soon_threadsafe(self._drain))
        self._follower.start()
        loop = node.spawn("sockets", lambda: self._serve_sockets(pull))
        node.set_ready()
        self._beat.start()
        try:
            self._runner.run()
        finally:
            self._reactor.call_soon_threadsafe(self._finish)
            loop.join(timeout=_FLUSH_MS / 1_000 + 1)
            self._modules.stop(_MODULES_STOP_S)
            self._beat.stop()
            self._follower.stop()
            self._sandbox.close()

    def _serve_sockets(self, pull: Socket) -> None:
        try:
            self._reactor.on_message(pull, {Hello: self._greet, Deliveries: self._take, Abort: self._cancel})
            self._reactor.every(min(LEASE_RENEW_MS, self._node.settings.lease_ms // 4), self._renew)
            self._reactor.run()
        finally:
            # The main thread must not wait for deliveries that cannot come.
            self._holding.drain()
            self._holding.wake()
            pull.close()
            self._links.close()

    # --- What listeners say

    def _greet(self, message: Hello) -> None:
        held = self._holding.tokens().get(message.listener, ())
        welcome = Welcome(executor=self._node.name, instance=self._node.instance, held=held)
        self._links.send(message.listener, welcome)
        self._log.info("listener met", action=Action.PEER_JOINED, peer=message.listener, held=len(held))
        if self._holding.draining:
            self._return({message.listener: ()})
        self._tick_soon()

    def _take(self, message: Deliveries) -> None:
        self._links.meet(message.listener)
        refused = self._holding.take(message.listener, message.items, self._clock.monotonic_ms())
        if refused:
            self._return({message.listener: refused})
        self._tick_soon()

    def _cancel(self, message: Abort) -> None:
        self._holding.cancel(message.listener, message.tokens)
        self._holding.interrupt(self._sandbox.abort)
        self._collect()

    # --- What the main thread and time bring about

    def _tick_soon(self) -> None:
        """Looks again soon, and keeps looking while there is work: an idle executor sleeps."""
        if not self._ticking:
            self._ticking = True
            self._reactor.later(_TICK_MS, self._tick)

    def _tick(self) -> None:
        self._ticking = False
        self._collect()
        now_ms = self._clock.monotonic_ms()
        self._return(self._holding.return_overdue(now_ms, RETURN_AFTER_MS))
        self._holding.interrupt(self._sandbox.abort)
        overdue_ms = self._sandbox.overdue_ms()
        if overdue_ms > WATCHDOG_GRACE_MS:
            self._end_overdue(overdue_ms)
        if self._drain_until_ms and now_ms > self._drain_until_ms:
            self._end_draining()
        if self._holding.busy():
            self._tick_soon()
        elif self._links.waiting:
            self._ticking = True
            self._reactor.later(_AWAY_TICK_MS, self._tick)

    def _collect(self) -> None:
        for listener, settlements in self._holding.collect().items():
            self._settle(listener, settlements)
        if self._links.waiting and not self._links.flush():
            self._tick_soon()

    def _settle(self, listener: str, settlements: Iterable[Settlement]) -> None:
        message = Settlements(
            executor=self._node.name, instance=self._node.instance, items=tuple(settlements)
        )
        self._links.send(listener, message)

    def _renew(self) -> None:
        for listener, held in self._holding.tokens().items():
            renewal = Renewal(
                executor=self._node.name,
                instance=self._node.instance,
                running=self._holding.running_token(listener),
                held=held,
                parked=self._holding.parked_tokens(listener),
            )
            self._links.offer(listener, renewal)

    def _return(self, tokens: TokensByListener) -> None:
        for listener, given in tokens.items():
            returned = Returned(
                executor=self._node.name,
                instance=self._node.instance,
                tokens=given,
                draining=self._holding.draining,
            )
            self._links.send(listener, returned)

    def _module_here(self, key: str) -> None:
        """Called in a thread of the modules."""
        self._holding.unpark(key)
        self._reactor.call_soon_threadsafe(self._renew)

    def _hand_back(self, key: str) -> None:
        self._return(self._holding.return_parked(key))

    def _rest(self) -> None:
        # NOTE: what met a fault of this machine rests here, else it would come back at once.
        self._reactor.later(_HAND_BACK_MS, lambda: self._hand_back(UNUSABLE))

    # --- The end

    def _drain(self) -> None:
        returned = self._holding.drain()
        self._return({listener: returned.get(listener, ()) for listener in self._links.names})
        self._holding.wake()
        self._drain_until_ms = self._clock.monotonic_ms() + max(1, self._node.settings.drain_ms)
        self._tick_soon()

    def _finish(self) -> None:
        """Sends what the main thread left, then ends the loop; it runs no guest any more."""
        self._collect()
        until_ms = self._clock.monotonic_ms() + _FLUSH_MS
        while self._links.waiting and self._clock.monotonic_ms() < until_ms:
            time.sleep(_TICK_MS / 1_000)
            self._links.flush()
        self._reactor.stop()

    def _end_draining(self) -> None:
        """Ends the process: its guest takes longer than the drain may."""
        self._log.warning("a guest outlasts the drain", action=Action.GUEST_OVERDUE)
        self._leave(0)

    def _end_overdue(self, overdue_ms: int) -> None:
        """Ends the process: its guest sits past its deadline where wasmtime cannot end it."""
        running = self._holding.running
        if running is not None:
            delivery = running.delivery
            self._log.error(
                "guest overdue in a host call: this process ends, and starts anew",
                action=Action.GUEST_OVERDUE,
                id=delivery.id,
                tenant=delivery.tenant,
                overdue_ms=overdue_ms,
            )
            error = "Its time was up, and it sat in a call to the host."
            outcome = Settlement(token=delivery.token, outcome=Outcome.TIMEOUT, error=error)
            self._settle(running.listener, [outcome])
        self._return(self._holding.drain())
        self._leave(_EXIT_OVERDUE)

    def _leave(self, code: int) -> None:
        # SAFETY: the main thread cannot be ended, so nothing is closed in order; what was sent is on its way
        # in ZeroMQ's own thread, which is given a moment.
        self._links.flush()
        time.sleep(_FLUSH_MS / 5_000)
        os._exit(code)

    # --- What it knows

    def _take_tables(self, tables: Tables) -> None:
        self._peers.replace(tables["nodes"])
        self._secrets.replace(tables["secrets"])

    def _take_change(self, table: str, key: str, value: object) -> None:
        self._peers.change(table, key, value)
        if value is None or isinstance(value, bytes):
            self._secrets.change(table, key, value)

    def _fetch(self, digest: str) -> bytes:
        """The bytes of a module, from the repository; in a thread of `Modules`."""
        peer = self._peers.of_role("repository", "rep")
        client = Client(self._node.wire, self._node.name)
        try:
            reply = client.call(
                peer.endpoint,
                GetArtifact(digest=digest),
                timeout_ms=CALL_TIMEOUT_MS,
                reach_ms=_REACH_MS,
                server_key=peer.server_key,
            )
        finally:
            client.close()
        assert digest_of(reply.content) == digest
        return reply.content

    def _load(self) -> dict[str, float]:
        return {
            "waiting": float(self._holding.waiting()),
            "attempts": float(self._runner.attempts),
            "run_s": self._runner.run_us / 1e6,
            "refused": float(self._reactor.refused),
        }
