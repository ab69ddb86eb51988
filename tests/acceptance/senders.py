"""Senders that do as the documentation asks: a key for each event, and again until it is accepted."""

import itertools
import json
import threading
import time
from collections import Counter

from acceptance_kit import Platform, exchange

_PAUSE_S = 0.02  # so that the posting goes on while nodes are hurt


class Senders:
    """Threads that post numbered events, each until it has got its 202, as a careful sender does.

    They go on for as long as the block runs, and until `least` events are accepted.
    """

    def __init__(
        self, platform: Platform, least: int = 0, threads: int = 4, *, tenant: str = "acme", key: str = ""
    ) -> None:
        self._platform = platform
        self._path = f"/events/{tenant}/order"
        self._key = key or platform.key
        self._least = least
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.accepted: dict[str, int] = {}
        self.refused = Counter[object]()
        self._threads = [threading.Thread(target=self._send) for _ in range(threads)]

    def __enter__(self) -> "Senders":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _send(self) -> None:
        while not self._stop.is_set() or len(self.accepted) < self._least:
            with self._lock:
                number = next(self._numbers)
            self._post(number)
            time.sleep(_PAUSE_S)

    def _post(self, number: int) -> None:
        headers = self._platform.headers(
            Idempotency_Key=f"order-{number}", Authorization=f"Bearer {self._key}"
        )
        body = json.dumps({"id": number}).encode()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                with self._platform.connection() as connection:
                    answer = exchange(connection, "POST", self._path, body, headers)
            except (OSError, ValueError) as error:
                self._count(type(error).__name__)
            except Exception as error:  # what http.client makes of a connection cut in the middle
                self._count(type(error).__name__)
            else:
                if answer.status == 202:
                    with self._lock:
                        self.accepted[answer.json["id"]] = number
                    return
                self._count(answer.status)
            time.sleep(0.05)
        raise AssertionError(f"event {number} was not accepted in 30 s: {self.refused}")

    def _count(self, what: object) -> None:
        with self._lock:
            self.refused[what] += 1
