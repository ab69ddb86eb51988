"""Senders of webhooks, one a scheme: what each puts into the headers of a message that it signs."""

import base64
import hmac
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

__all__ = ["Sender", "bearer", "github", "hmac_header", "public_key", "standard", "standard_v1a", "stripe"]

Sender = Callable[..., dict[str, str]]
"""`sender(secret, body, at_s=…, message_id=…)` gives the headers."""


def bearer(secret: bytes, _body: bytes, at_s: float = 0, message_id: str = "") -> dict[str, str]:
    """`Authorization`, with the secret itself."""
    return {"Authorization": f"Bearer {secret.decode()}"}


def github(secret: bytes, body: bytes, at_s: float = 0, message_id: str = "d-1") -> dict[str, str]:
    """`X-Hub-Signature-256`; the id of the delivery is not signed."""
    signature = hmac.digest(secret, body, "sha256").hex()
    return {"X-Hub-Signature-256": f"sha256={signature}", "X-GitHub-Delivery": message_id}


def hmac_header(secret: bytes, body: bytes, at_s: float = 0, message_id: str = "") -> dict[str, str]:
    """`X-Signature`: the bare HMAC of the body."""
    return {"X-Signature": hmac.digest(secret, body, "sha256").hex()}


def stripe(secret: bytes, body: bytes, at_s: float | None = None, message_id: str = "") -> dict[str, str]:
    """`Stripe-Signature`: the HMAC of time and body."""
    second = int(time.time() if at_s is None else at_s)
    signature = hmac.digest(secret, f"{second}.".encode() + body, "sha256").hex()
    return {"Stripe-Signature": f"t={second},v1={signature}"}


def standard(
    secret: bytes, body: bytes, at_s: float | None = None, message_id: str = "msg_1"
) -> dict[str, str]:
    """Standard Webhooks `v1`: the HMAC of id, time and body."""
    second = int(time.time() if at_s is None else at_s)
    key = base64.b64decode(secret.removeprefix(b"whsec_"))
    signature = hmac.digest(key, f"{message_id}.{second}.".encode() + body, "sha256")
    return _standard_headers(message_id, second, "v1," + base64.b64encode(signature).decode())


def standard_v1a(
    secret: bytes, body: bytes, at_s: float | None = None, message_id: str = "msg_1"
) -> dict[str, str]:
    """Standard Webhooks `v1a`: signed with the private half of `public_key(secret)`."""
    second = int(time.time() if at_s is None else at_s)
    signature = _private_key(secret).sign(f"{message_id}.{second}.".encode() + body)
    return _standard_headers(message_id, second, "v1a," + base64.b64encode(signature).decode())


def public_key(secret: bytes) -> bytes:
    """What the receiver of `v1a` knows of a sender."""
    public = _private_key(secret).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return b"whpk_" + base64.b64encode(public)


def _private_key(secret: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(secret.ljust(32, b"."))


def _standard_headers(message_id: str, second: int, signature: str) -> dict[str, str]:
    return {"webhook-id": message_id, "webhook-timestamp": str(second), "webhook-signature": signature}
