"""Host functions: what a guest may call besides WASI; one file each.

A host function is a `HostFunction` in a module of this package, listed in `HOST_FUNCTIONS`. It gets the
attempt under way and its raw arguments; it ends the guest by raising `Stop`, and whatever else it raises
ends the guest too, is never seen by it, and is raised again once it is gone. It checks every pointer and
length through `attempt.memory`, bounds what it does by the attempt's limits, and waits only through
`attempt.deadline.sleep`.

To add one: a file here with its core function (module `env`) and its twin in `jobicolet.wit`, granted by a
field of the runtime's definition, denied without; its tests in `tests/contract`.
"""

from jobico.sandbox.host.emit import EMIT
from jobico.sandbox.host.function import HostFunction, new_callback
from jobico.sandbox.host.log import LOG

__all__ = ["HOST_FUNCTIONS", "HostFunction", "new_callback"]

HOST_FUNCTIONS: tuple[HostFunction, ...] = (EMIT, LOG)
"""Every host function, by the order of its name."""
