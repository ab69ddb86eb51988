"""Where guests run; the only code that imports wasmtime."""

from jobico.sandbox.attempt import Job
from jobico.sandbox.cache import ModuleCache
from jobico.sandbox.compiler import Inspection, inspect
from jobico.sandbox.engine import Result, Sandbox

__all__ = ["Inspection", "Job", "ModuleCache", "Result", "Sandbox", "inspect"]
