"""How long a runtime is expected to take, learnt from how long it took. Pure."""

from typing import Final

__all__ = ["Estimate", "Estimates"]

_OVERHEAD_US: Final = 100  # what an executor spends on an attempt outside its sandbox
_REMEMBERED_MAX: Final = 20_000
_RISE: Final = 0.5
_FALL: Final = 0.125


class Estimate:
    """A moving mean of one runtime's run times that rises fast and falls slowly; `us` 0 is unknown."""

    __slots__ = ("us",)

    def __init__(self) -> None:
        self.us = 0.0

    def observe(self, run_us: int) -> None:
        """Takes in one run."""
        seen = run_us + _OVERHEAD_US
        if self.us == 0.0:
            self.us = float(seen)
        else:
            self.us += (seen - self.us) * (_RISE if seen > self.us else _FALL)


class Estimates:
    """Estimates by runtime, the msgpack of its `RuntimeSpec`: with a new module or limits it is a new one."""

    def __init__(self) -> None:
        self._known: dict[bytes, Estimate] = {}

    def of(self, runtime: bytes) -> Estimate:
        """The estimate of a runtime. Past a bound the one that was met first is forgotten."""
        found = self._known.get(runtime)
        if found is None:
            if len(self._known) >= _REMEMBERED_MAX:
                del self._known[next(iter(self._known))]
            found = self._known[runtime] = Estimate()
        return found
