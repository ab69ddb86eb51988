"""The thread that runs guests: one delivery after another, each to a settlement.

It owns the sandbox. It touches no socket: what it has to say goes through `Holding` and `wake`.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from jobico.clock import Clock
from jobico.definition import RuntimeSpec
from jobico.errors import JobicoError
from jobico.event import LogLevel, LogLine, Outcome, Report, Settlement
from jobico.logs import Action, get_logger
from jobico.sandbox.attempt import Job
from jobico.sandbox.engine import Result, Sandbox
from nodes.executor.holding import Held, Holding
from nodes.executor.modules import Modules, module_key
from nodes.secrets import SecretTable

__all__ = ["UNUSABLE", "Runner"]

UNUSABLE: Final = "unusable"
"""Under this key deliveries are parked that met a fault of this machine."""

_SPECS_MAX: Final = 1_000
_SETTLED_BATCH: Final = 16
_SETTLED_LATE_MS: Final = 2
_IDLE_S: Final = 1.0


class _NotHere(Exception):
    """The sandbox wants a module that is not compiled here."""


class _Prepared(NamedTuple):
    spec: RuntimeSpec
    key: str


class Runner:
    """Runs what is held until it drains.

    Args:
        holding: What there is to run.
        sandbox: Where it runs.
        modules: Which modules are here.
        secrets: What guests are given.
        clock: For stamps and for how long a guest has run.
        settled: Called when settlements should leave soon.
        unusable: Called when a delivery was parked under `UNUSABLE`.
        parked: Called when a delivery was parked until its module is here.
        spent: Called when a guest was stopped that may go on computing: the process should end.
    """

    def __init__(
        self,
        holding: Holding,
        sandbox: Sandbox,
        modules: Modules,
        secrets: SecretTable,
        clock: Clock,
        *,
        settled: Callable[[], None],
        unusable: Callable[[], None],
        parked: Callable[[], None],
        spent: Callable[[], None],
    ) -> None:
        self._holding = holding
        self._sandbox = sandbox
        self._modules = modules
        self._secrets = secrets
        self._clock = clock
        self._settled = settled
        self._unusable = unusable
        self._parked = parked
        self._spent = spent
        self._prepared: dict[bytes, _Prepared] = {}
        self._encoder = msgspec.msgpack.Encoder()
        self._told_ms = 0
        self._log = get_logger()
        self.attempts = 0
        self.run_us = 0

    def run(self) -> None:
        """Runs guests until the executor drains and the last one has ended."""
        holding = self._holding
        while True:
            now_ms = self._clock.monotonic_ms()
            held = holding.begin(now_ms)
            if held is not None:
                self._attempt(held, now_ms)
            elif holding.draining:
                return
            else:
                holding.wait(_IDLE_S)

    def _attempt(self, held: Held, now_ms: int) -> None:
        delivery = held.delivery
        prepared = self._prepared.get(delivery.runtime) or self._prepare(delivery.runtime)
        if prepared is None:
            self._settle(held, _refused(delivery.token, "Its runtime is none that is known here."), now_ms)
            return
        spec, key = prepared
        verdict = self._modules.verdict(key)
        if verdict is None:
            self._holding.park(held, key)
            self._modules.want(key, spec)
            self._parked()
        elif verdict:
            self._settle(held, _refused(delivery.token, verdict), now_ms)
        else:
            self._run(held, spec, key, now_ms)

    def _run(self, held: Held, spec: RuntimeSpec, key: str, now_ms: int) -> None:
        delivery = held.delivery
        started_ms = self._clock.wall_ms()
        secrets = self._secrets.resolve(delivery.tenant, spec.secrets) if spec.secrets else {}
        job = Job(delivery.id, delivery.tenant, delivery.event, delivery.attempt, delivery.payload, secrets)
        try:
            result = self._sandbox.run(spec, job, _refuse)
        except _NotHere:
            self._modules.forget(key)
            self._holding.park(held, key)
            self._modules.want(key, spec)
            self._parked()
            return
        except (JobicoError, OSError) as error:
            # A fault of this machine (its disk is full, its cache is broken) must not fail the event.
            self._log.error(str(error), action=Action.REQUEST_FAILED, id=delivery.id)
            self._holding.park(held, UNUSABLE)
            self._unusable()
            return
        self.attempts += 1
        self.run_us += result.run_us
        missing = [name for name in spec.secrets if name not in secrets]
        self._settle(held, self._settlement(held, result, started_ms, missing), now_ms)
        if self._sandbox.spent:
            self._spent()

    def _settlement(self, held: Held, result: Result, started_ms: int, missing: list[str]) -> Settlement:
        logs = result.logs
        if missing:
            told = LogLine(LogLevel.WARNING, f"jobico: secrets that are not set: {', '.join(missing)}")
            logs = (told, *logs)
        report = Report(
            logs=logs,
            logs_dropped=result.logs_dropped,
            fuel=result.fuel,
            memory_bytes=result.memory_bytes,
            started_ms=started_ms,
        )
        return Settlement(
            token=held.delivery.token,
            outcome=result.outcome,
            code=result.code,
            result=result.result,
            error=result.error,
            run_us=result.run_us,
            report=self._encoder.encode(report),
            emitted=result.emitted,
        )

    def _settle(self, held: Held, settlement: Settlement, began_ms: int) -> None:
        delivery = held.delivery
        self._log.debug(
            "attempt",
            action=Action.ATTEMPT,
            id=delivery.id,
            attempt=delivery.attempt,
            tenant=delivery.tenant,
            outcome=settlement.outcome,
            run_us=settlement.run_us,
        )
        # PERF: waking the thread of the sockets for each of many short guests would cost both threads their
        # turns at the interpreter; it looks by itself every few milliseconds while there is work.
        if (
            self._holding.finish(held, settlement) >= _SETTLED_BATCH
            or not self._holding.waiting()
            or began_ms - self._told_ms >= _SETTLED_LATE_MS
        ):
            self._told_ms = began_ms
            self._settled()

    def _prepare(self, runtime: bytes) -> _Prepared | None:
        try:
            spec = msgspec.msgpack.decode(runtime, type=RuntimeSpec)
        except msgspec.MsgspecError:
            return None
        if len(self._prepared) >= _SPECS_MAX:
            self._prepared.clear()
        prepared = self._prepared[runtime] = _Prepared(spec, module_key(spec))
        return prepared


def _refuse(_digest: str) -> bytes:
    raise _NotHere


def _refused(token: int, why: str) -> Settlement:
    return Settlement(token=token, outcome=Outcome.ABI_ERROR, error=why)
