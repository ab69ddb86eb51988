"""The one thread that writes to a store: group commit, failures that stay with their op, recovery by itself.

Owns the order of a store's transactions. Never decides what an op does. While one transaction is synced, ops
gather; the next transaction takes them all, so the cost of a sync is shared by everybody who waits for one.

What becomes of an op that fails, by why:

- It refuses (answers `Refused`, having written nothing): it alone fails.
- It raises: the transaction is undone and run again without it. Ops must bear to be run twice.
- The map or disk is full, or I/O fails: nothing of the transaction is stored. Ops that grow the store fail;
  the others are tried again from the reserve. The store is unavailable for growth until a probe goes through.
"""

import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final, Generic, TypeVar

import lmdb

from jobico import limits
from jobico.errors import Internal, JobicoError, StorageUnavailable
from jobico.logs import Action, get_logger
from jobico.storage.environment import META, Environment, unavailable
from jobico.storage.ops import Op, Refused, S
from jobico.storage.reserve import Reserve
from jobico.storage.transaction import Txn

__all__ = ["Writer"]

T = TypeVar("T")

_RERUNS_MAX: Final = 3
_SWITCH_INTERVAL_S: Final = 20e-6
# What LMDB raises where the op is at fault, not the store.
_OP_FAULTS: Final = (lmdb.BadValsizeError, lmdb.KeyExistsError, lmdb.InvalidParameterError)


class Writer(Generic[S]):
    """The writer of one store. `available` is False while the store must not grow."""

    def __init__(
        self,
        env: Environment,
        session: Callable[[Txn], S],
        on_done: Callable[[Sequence[Op[S]]], None] | None = None,
    ) -> None:
        """Starts the thread.

        Args:
            env: The store.
            session: Makes what ops see of a transaction.
            on_done: Hears, in the writer thread, of the ops of a transaction once it is synced or has failed.
        """
        self.available = True
        self._env = env
        self._session = session
        self._on_done = on_done
        self._healthy = True
        self._probed_s = 0.0
        self._pending: queue.SimpleQueue[Op[S] | None] = queue.SimpleQueue()
        self._reserve = Reserve(env)
        # PERF: py-lmdb lets go of the interpreter at each call. While another thread computes, getting it
        # back takes up to a switch interval: 300 µs a put at the default 5 ms, 5 µs at this one (measured).
        sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_INTERVAL_S))
        self._thread = threading.Thread(target=self._work, name="storage-writer", daemon=True)
        self._thread.start()

    def submit(self, run: Callable[[S], T], *, growth: bool = True, size_bytes: int = 0) -> "Future[T]":
        """Runs `run` in a coming transaction; the future resolves once that is synced."""
        future: Future[T] = Future()
        self.post(Op(run, growth=growth, size_bytes=size_bytes, future=future))
        return future

    def post(self, op: Op[S]) -> None:
        """Queues an op; `on_done` or its future tells when it is done. Never blocks."""
        self._pending.put(op)

    def close(self) -> None:
        """Does what is queued, then ends the thread; nothing may be posted any more."""
        self._pending.put(None)
        self._thread.join()
        self._reserve.close()

    def _work(self) -> None:
        closing = False
        while not closing:
            ops, closing = self._gather()
            if not self.available:
                self._probe()
            if ops:
                self._commit(ops)

    def _gather(self) -> tuple[list[Op[S]], bool]:
        """Waits for an op, then takes all that are there, up to the bounds of a transaction."""
        ops: list[Op[S]] = []
        size_bytes = 0
        try:
            timeout_s = None if self.available else limits.STORE_PROBE_MS / 1000
            op = self._pending.get(timeout=timeout_s)
            while op is not None:
                ops.append(op)
                size_bytes += op.size_bytes
                if len(ops) >= limits.COMMIT_OPS_MAX or size_bytes >= limits.COMMIT_BYTES_MAX:
                    return ops, False
                op = self._pending.get_nowait()
        except queue.Empty:
            return ops, False
        return ops, True

    def _commit(self, ops: list[Op[S]]) -> None:
        """Brings every op to its end, stored or failed, and tells."""
        try:
            self._store_what_can(ops)
        except Exception as error:
            # NOTE: a fault in the code of a session. The thread must outlive it, and nobody may wait in vain.
            get_logger().exception("A transaction failed.", action=Action.STORAGE_FAILED)
            _fail(ops, Internal(f"A transaction failed: {error!r}. The log has the details."))
        self._tell(ops)

    def _store_what_can(self, ops: list[Op[S]]) -> None:
        """Stores ops; where that fails, those that may use the reserve: together, or each alone."""
        try:
            self._store(ops)
            return
        except lmdb.Error as error:
            self._degrade(error)
            _fail([op for op in ops if op.growth], unavailable(self._env.path, error))
        try:
            self._store(ops)
            return
        except lmdb.MapFullError:
            alone = [[op] for op in ops if not op.done]  # one of them may be too large for all
        except lmdb.Error as error:
            _fail(ops, unavailable(self._env.path, error))
            return
        for op in alone:
            try:
                self._transact(op)
            except lmdb.Error as error:
                _fail(op, unavailable(self._env.path, error))

    def _store(self, ops: list[Op[S]]) -> None:
        """Commits ops in one transaction, without those that raise; alone where too many do."""
        if not self._reserve.allocate():
            self._set_available(available=False, reason="the disk has no room for the reserve")
        left = ops
        for _ in range(_RERUNS_MAX):
            left = [op for op in left if not op.done]
            if not left or self._transact(left):
                return
        for op in left:
            if not op.done:
                self._transact([op])

    def _transact(self, ops: list[Op[S]]) -> bool:
        """Runs ops in one transaction; False where one raised: that one is done, nothing is stored."""
        txn = self._env.begin()
        committing = False
        try:
            ops = self._admit(txn, ops)
            session = self._session(txn)
            for op in ops:
                if not self._attempt(op, session):
                    txn.raw.abort()
                    return False
            session.finish()
            number = txn.raw.id()
            committing = True
            txn.raw.commit()
        except Exception as error:
            if not committing:
                txn.raw.abort()
                raise
            if not isinstance(error, lmdb.Error) or not self._env.recover(number):
                raise
        session.committed()
        for op in ops:
            op.done = True
        return True

    def _admit(self, txn: Txn, ops: list[Op[S]]) -> list[Op[S]]:
        """Fails the ops that would grow a store that must not grow; answers the others."""
        growth_bytes = sum(op.size_bytes for op in ops if op.growth)
        if self.available and not self._reserve.has_room(txn, growth_bytes):
            self._set_available(available=False, reason="the map is full but for the reserve")
        if self.available:
            return ops
        for op in ops:
            if op.growth:
                op.fail(
                    StorageUnavailable(
                        f"The store at {self._env.path} is full but for its reserve: nothing new is stored "
                        "until the backlog drains or space is freed."
                    )
                )
        return [op for op in ops if not op.growth]

    def _attempt(self, op: Op[S], session: S) -> bool:
        """Runs one op; False where it raised."""
        try:
            result = op.run(session)
        except JobicoError as error:
            op.fail(error)
            return False
        except Exception as error:
            if isinstance(error, lmdb.Error) and not isinstance(error, _OP_FAULTS):
                raise
            get_logger().exception("A storage operation failed.", action=Action.STORAGE_FAILED)
            op.fail(Internal(f"A storage operation failed: {error!r}. The log has the details."))
            return False
        if isinstance(result, Refused):
            op.error = result.error
        else:
            op.result, op.error = result, None
        return True

    def _tell(self, ops: Sequence[Op[S]]) -> None:
        for op in ops:
            if op.future is None or not op.future.set_running_or_notify_cancel():
                continue
            if op.error is not None:
                op.future.set_exception(op.error)
            else:
                op.future.set_result(op.result)
        if self._on_done is not None:
            try:
                self._on_done(ops)
            except Exception:
                get_logger().exception("Nobody could be told of a commit.", action=Action.STORAGE_FAILED)

    # --- Availability -------------------------------------------------------------------------------------

    def _degrade(self, error: lmdb.Error) -> None:
        """Notes that a transaction could not be stored: no growth until a probe goes through."""
        self._healthy = False
        self._set_available(available=False, reason=str(error))

    def _set_available(self, *, available: bool, reason: str = "") -> None:
        if available == self.available:
            return
        self.available = available
        if available:
            get_logger().info("The store takes new work again.", action=Action.STORAGE_RECOVERED)
        else:
            get_logger().error(
                "The store takes no new work.",
                action=Action.STORAGE_FAILED,
                path=str(self._env.path),
                reason=reason,
            )

    def _probe(self) -> None:
        """Finds out, at most each STORE_PROBE_MS, whether the store can grow again."""
        now_s = time.monotonic()
        if now_s - self._probed_s < limits.STORE_PROBE_MS / 1000:
            return
        self._probed_s = now_s
        number = 0
        try:
            allocated = self._reserve.allocate()
            txn = self._env.begin()
            # NOTE: a quarter more than the reserve, so that a store on the edge does not flap.
            room = allocated and self._reserve.has_room(txn, self._reserve.size_bytes // 4)
            if self._healthy:
                txn.raw.abort()
            else:
                txn.put(META, b"probe", b"%d" % time.time_ns())
                number = txn.raw.id()
                txn.raw.commit()
        except lmdb.Error:
            self._env.recover(number)
            return
        self._healthy = True
        if room:
            self._set_available(available=True)


def _fail(ops: Sequence[Op[S]], error: JobicoError) -> None:
    """Fails those that are not done."""
    for op in ops:
        if not op.done:
            op.fail(error)
