"""Identifiers: event ids, instance ids, digests."""

import hashlib
import re
import secrets

import uuid_utils

from jobico.errors import InvalidInput

__all__ = ["check_name", "digest_of", "new_event_id", "new_instance_id", "parse_event_id"]

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_EVENT_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def new_event_id() -> str:
    """A UUIDv7 (RFC 9562) as 36 lower-case characters; ids made later sort later."""
    return str(uuid_utils.uuid7())


def parse_event_id(text: str) -> str:
    """Returns `text` if it is an event id as `new_event_id` makes them.

    Raises:
        InvalidInput: it is not.
    """
    if not _EVENT_ID.fullmatch(text):
        raise InvalidInput(f"{text[:64]!r} is not an event id: use the id that the 202 answer gave.")
    return text


def new_instance_id() -> str:
    """16 hexadecimal characters that tell one run of a process from any other."""
    return secrets.token_hex(8)


def digest_of(content: bytes) -> str:
    """The SHA-256 of `content` as `sha256:` and 64 hexadecimal characters."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def check_name(kind: str, text: str) -> str:
    """Returns `text` if it can name a tenant, job, event, queue, runtime, key or file.

    Raises:
        InvalidInput: it is empty, over 64 characters, or has others than letters, digits, `.`, `_`, `-`.
    """
    if not _NAME.fullmatch(text):
        raise InvalidInput(
            f"{text[:80]!r} cannot name a {kind}: use 1 to 64 letters, digits, '.', '_' or '-', "
            "with a letter or digit first and last."
        )
    return text
