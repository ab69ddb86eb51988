"""The repository node: modules and schemas by digest, named per tenant."""

from nodes.repository.service import main

__all__ = ["main"]
