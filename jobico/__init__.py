"""The domain of Jobico: definitions, delivery, storage and sandbox.

Knows no socket, no HTTP and no terminal.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
