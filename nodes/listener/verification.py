"""How a sender proves itself: the schemes of `verify:`, over the raw bytes of the body.

Pure: headers, secrets and time come in, the id of the delivery comes out. Nothing here reads the body as
anything but bytes, says which secret matched, or compares other than in constant time.

What each scheme protects, and what it cannot:

    standard-webhooks   body, id and time; an old message is refused, a replay in the window has the same id
    stripe              body and time; the id is the digest of the signature, which the time makes unique
    github              the body; the id in `X-GitHub-Delivery` is not signed: only an honest repeat is seen
    hmac                the body; there is no id, so a replay is another event
    bearer              nothing of the message: whoever has the secret may send anything
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from jobico import limits
from jobico.definition import Verification, VerifyScheme
from jobico.errors import Unauthenticated

__all__ = ["TOLERANCE_S", "Verified", "bearer_token", "verify"]

TOLERANCE_S: Final = 300
"""How far the time in a signed message may be from now, in either direction."""

_SIGNATURES_MAX: Final = 16  # a header with more is refused: each costs an HMAC or an Ed25519 check
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_ID = re.compile(rf"[!-\-/-~]{{1,{limits.IDEMPOTENCY_KEY_CHARS_MAX}}}")  # printable ASCII but the dot
_HEX_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_BASE64_SHA256 = re.compile(r"[A-Za-z0-9+/]{43}=")


class Verified(msgspec.Struct, frozen=True):
    """A message from who it says; `delivery_id` is empty where the scheme has none."""

    delivery_id: str


def bearer_token(headers: Mapping[str, str]) -> str:
    """The token of `Authorization: Bearer …` (RFC 6750).

    Raises:
        Unauthenticated: there is none.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("No credentials: send the header 'Authorization: Bearer KEY'.")
    return token


def verify(
    spec: Verification, secrets: Sequence[bytes], headers: Mapping[str, str], body: bytes, now_s: float
) -> Verified:
    """Checks a message against the scheme of its event.

    Args:
        spec: `verify:` of the event.
        secrets: The live values of the secret that `spec` names; during a rotation there are two.
        headers: Of the request, by lower-case name.
        body: The raw bytes, exactly as received.
        now_s: Wall-clock seconds since 1970.

    Raises:
        Unauthenticated: the message is not from a holder of one of `secrets`, or is too old.
    """
    if spec.scheme is VerifyScheme.NONE:
        return Verified("")
    usable = [secret for secret in secrets if secret]
    if not usable:
        # SECURITY: a secret that is not set, or empty, must refuse, never let pass.
        raise Unauthenticated(f"The secret {spec.secret!r} that verifies this event is not set.")
    return _SCHEMES[spec.scheme](spec, usable, headers, body, now_s)


def _bearer(
    _spec: Verification, secrets: Sequence[bytes], headers: Mapping[str, str], _body: bytes, _now_s: float
) -> Verified:
    token = bearer_token(headers).encode("utf-8", "surrogateescape")
    if not any([hmac.compare_digest(token, secret) for secret in secrets]):  # noqa: C419 - always all of them
        raise Unauthenticated("The bearer token is not the one of this event.")
    return Verified("")


def _github(
    _spec: Verification, secrets: Sequence[bytes], headers: Mapping[str, str], body: bytes, _now_s: float
) -> Verified:
    given = _hex_signature(_header(headers, "x-hub-signature-256").removeprefix("sha256="))
    _match([given], [_hmac(secret, body) for secret in secrets], "X-Hub-Signature-256")
    delivery_id = headers.get("x-github-delivery", "")
    if len(delivery_id) > limits.IDEMPOTENCY_KEY_CHARS_MAX:
        raise Unauthenticated("X-GitHub-Delivery is too long to be a delivery id.")
    return Verified(delivery_id)


def _hmac_header(
    spec: Verification, secrets: Sequence[bytes], headers: Mapping[str, str], body: bytes, _now_s: float
) -> Verified:
    text = _header(headers, spec.header.lower()).removeprefix("sha256=")
    given = base64.b64decode(text) if _BASE64_SHA256.fullmatch(text) else _hex_signature(text)
    _match([given], [_hmac(secret, body) for secret in secrets], spec.header)
    return Verified("")


def _stripe(
    _spec: Verification, secrets: Sequence[bytes], headers: Mapping[str, str], body: bytes, now_s: float
) -> Verified:
    times, given = [], []
    for part in _parts(_header(headers, "stripe-signature"), ","):
        key, _, value = part.partition("=")
        if key == "t":
            times.append(value)
        elif key == "v1" and _HEX_SHA256.fullmatch(value):
            given.append(bytes.fromhex(value))
    if len(times) != 1:
        raise Unauthenticated("Stripe-Signature must have one time: 't=SECONDS,v1=HEX'.")
    _check_time(times[0], now_s)
    signed = times[0].encode() + b"." + body
    matched = _match(given, [_hmac(secret, signed) for secret in secrets], "Stripe-Signature")
    return Verified(hashlib.sha256(matched).hexdigest())


def _standard_webhooks(
    _spec: Verification, secrets: Sequence[bytes], headers: Mapping[str, str], body: bytes, now_s: float
) -> Verified:
    message_id = _header(headers, "webhook-id")
    if not _ID.fullmatch(message_id):
        # SECURITY: id, time and body are signed joined by dots; an id with a dot could pass for another.
        raise Unauthenticated("webhook-id must be printable ASCII without dots.")
    timestamp = _header(headers, "webhook-timestamp")
    _check_time(timestamp, now_s)
    signed = f"{message_id}.{timestamp}.".encode() + body
    symmetric, asymmetric = [], []
    for part in _parts(_header(headers, "webhook-signature"), " "):
        version, _, text = part.partition(",")
        if version == "v1":
            symmetric.append(_base64(text))
        elif version == "v1a":
            asymmetric.append(_base64(text))
    expected = [_hmac(key, signed) for secret in secrets if (key := _symmetric_key(secret))]
    public = [point for secret in secrets if (point := _public_key(secret))]
    if not any(_is_signed(point, one, signed) for point in public for one in asymmetric):
        _match(symmetric, expected, "webhook-signature")
    return Verified(message_id)


_Scheme = Callable[[Verification, Sequence[bytes], Mapping[str, str], bytes, float], Verified]
_SCHEMES: Final[dict[VerifyScheme, _Scheme]] = {
    VerifyScheme.BEARER: _bearer,
    VerifyScheme.GITHUB: _github,
    VerifyScheme.HMAC: _hmac_header,
    VerifyScheme.STANDARD_WEBHOOKS: _standard_webhooks,
    VerifyScheme.STRIPE: _stripe,
}


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "").strip()
    if not value:
        raise Unauthenticated(f"The header {name} is missing: this event takes signed messages only.")
    return value


def _parts(text: str, separator: str) -> list[str]:
    parts = [part.strip() for part in text.split(separator) if part.strip()]
    if len(parts) > _SIGNATURES_MAX:
        raise Unauthenticated(f"More than {_SIGNATURES_MAX} signatures in one header.")
    return parts


def _check_time(text: str, now_s: float) -> None:
    if not _TIMESTAMP.fullmatch(text):
        raise Unauthenticated("The time of the message is not a number of seconds since 1970.")
    if abs(now_s - int(text)) > TOLERANCE_S:
        raise Unauthenticated(
            f"The message was signed over {TOLERANCE_S // 60} minutes from now: check the clocks."
        )


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _hex_signature(text: str) -> bytes:
    return bytes.fromhex(text) if _HEX_SHA256.fullmatch(text) else b""


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return b""


def _match(given: Sequence[bytes], expected: Sequence[bytes], header: str) -> bytes:
    """The expected signature that was given; all pairs are compared, each in constant time."""
    matched = b""
    for want in expected:
        for got in given:
            if hmac.compare_digest(got, want):
                matched = want
    if not matched:
        raise Unauthenticated(
            f"The signature in {header} does not match: check the secret, and that the raw bytes were signed."
        )
    return matched


def _symmetric_key(secret: bytes) -> bytes:
    """The HMAC key of a secret: the base64 after `whsec_`; a secret without that prefix is taken as it is."""
    if secret.startswith(b"whpk_"):
        return b""
    if not secret.startswith(b"whsec_"):
        return secret
    try:
        return base64.b64decode(secret.removeprefix(b"whsec_"), validate=True)
    except binascii.Error:
        return b""


def _public_key(secret: bytes) -> Ed25519PublicKey | None:
    """The Ed25519 key of a secret: the base64 after `whpk_`."""
    if not secret.startswith(b"whpk_"):
        return None
    try:
        raw = base64.b64decode(secret.removeprefix(b"whpk_"), validate=True)
        return Ed25519PublicKey.from_public_bytes(raw)
    except (binascii.Error, ValueError):
        return None


def _is_signed(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True
