"""Only a holder of a live secret passes, over the bytes as received, with a clock that agrees.

Published vectors: GitHub's documented example, the example of Standard Webhooks' libraries, and the first
key of RFC 8032 (Ed25519).
"""

import base64
import hmac
import json
from collections.abc import Callable, Mapping

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jobico.definition import Verification, VerifyScheme
from jobico.errors import Unauthenticated
from nodes.listener.verification import TOLERANCE_S, bearer_token, verify

NOW_S = 1_614_265_330.0
BODY = b'{"test": 2432232314}'
SECRET = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = b"whsec_" + base64.b64encode(b"another secret of the same length")
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
RFC_8032_KEY = Ed25519PrivateKey.from_private_bytes(
    bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
)
PUBLIC = b"whpk_" + base64.b64encode(
    bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
)

Headers = dict[str, str]
Sign = Callable[[bytes, bytes, float], Headers]


def _key(secret: bytes) -> bytes:
    return base64.b64decode(secret.removeprefix(b"whsec_"))


def _sign_standard(secret: bytes, body: bytes, now_s: float) -> Headers:
    signed = f"{MESSAGE_ID}.{int(now_s)}.".encode() + body
    signature = base64.b64encode(hmac.digest(_key(secret), signed, "sha256")).decode()
    return {
        "webhook-id": MESSAGE_ID,
        "webhook-timestamp": str(int(now_s)),
        "webhook-signature": f"v1,{signature}",
    }


def _sign_github(secret: bytes, body: bytes, _now_s: float) -> Headers:
    signature = "sha256=" + hmac.digest(secret, body, "sha256").hex()
    return {"x-hub-signature-256": signature, "x-github-delivery": "d-1"}


def _sign_stripe(secret: bytes, body: bytes, now_s: float) -> Headers:
    signature = hmac.digest(secret, f"{int(now_s)}.".encode() + body, "sha256").hex()
    return {"stripe-signature": f"v0={'0' * 64},t={int(now_s)},v1={signature}"}


def _sign_hmac(secret: bytes, body: bytes, _now_s: float) -> Headers:
    return {"x-signature": hmac.digest(secret, body, "sha256").hex()}


def _sign_bearer(secret: bytes, _body: bytes, _now_s: float) -> Headers:
    return {"authorization": "Bearer " + secret.decode()}


STANDARD = Verification(scheme=VerifyScheme.STANDARD_WEBHOOKS, secret="S")
GITHUB = Verification(scheme=VerifyScheme.GITHUB, secret="S")
STRIPE = Verification(scheme=VerifyScheme.STRIPE, secret="S")
HMAC = Verification(scheme=VerifyScheme.HMAC, secret="S", header="X-Signature")
BEARER = Verification(scheme=VerifyScheme.BEARER, secret="S")

SIGNED = [(STANDARD, _sign_standard), (GITHUB, _sign_github), (STRIPE, _sign_stripe), (HMAC, _sign_hmac)]
ALL = [*SIGNED, (BEARER, _sign_bearer)]
TIMED = [(STANDARD, _sign_standard), (STRIPE, _sign_stripe)]


def _schemes(cases: list[tuple[Verification, Sign]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("spec", "sign"), cases, ids=[str(spec.scheme) for spec, _ in cases])


every_scheme, signed_schemes, timed_schemes = _schemes(ALL), _schemes(SIGNED), _schemes(TIMED)


def _refused(
    spec: Verification, headers: Mapping[str, str], body: bytes = BODY, secrets: tuple[bytes, ...] = (SECRET,)
) -> None:
    with pytest.raises(Unauthenticated) as caught:
        verify(spec, secrets, headers, body, NOW_S)
    for secret in secrets:
        assert not secret or secret.decode() not in caught.value.message


def test_githubs_documented_example_passes() -> None:
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    headers = {"x-hub-signature-256": signature, "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958"}
    verified = verify(GITHUB, [b"It's a Secret to Everybody"], headers, b"Hello, World!", NOW_S)
    assert verified.delivery_id == "72d3162e-cc78-11e3-81ab-4c9367dc0958"


def test_the_example_of_standard_webhooks_passes() -> None:
    headers = {
        "webhook-id": MESSAGE_ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    assert verify(STANDARD, [SECRET], headers, BODY, NOW_S).delivery_id == MESSAGE_ID


def _asymmetric(key: Ed25519PrivateKey = RFC_8032_KEY, body: bytes = BODY) -> Headers:
    signed = f"{MESSAGE_ID}.{int(NOW_S)}.".encode() + body
    signature = base64.b64encode(key.sign(signed)).decode()
    return {
        "webhook-id": MESSAGE_ID,
        "webhook-timestamp": str(int(NOW_S)),
        "webhook-signature": f"v1,bm9wZQ== v1a,{signature}",
    }


def test_an_asymmetric_signature_passes_with_the_public_key_alone() -> None:
    assert verify(STANDARD, [PUBLIC], _asymmetric(), BODY, NOW_S).delivery_id == MESSAGE_ID


def test_an_asymmetric_signature_of_another_key_or_body_is_refused() -> None:
    _refused(STANDARD, _asymmetric(Ed25519PrivateKey.generate()), secrets=(PUBLIC,))
    _refused(STANDARD, _asymmetric(body=b"{}"), secrets=(PUBLIC,))


def test_a_public_key_is_never_the_key_of_an_hmac() -> None:
    """Who knows the public key could otherwise sign with it."""
    for key in (PUBLIC, _key(PUBLIC.replace(b"whpk_", b"whsec_"))):
        forged = _sign_standard(b"whsec_" + base64.b64encode(key), BODY, NOW_S)
        _refused(STANDARD, forged, secrets=(PUBLIC,))


@every_scheme
def test_an_honest_message_passes(spec: Verification, sign: Sign) -> None:
    verify(spec, [SECRET], sign(SECRET, BODY, NOW_S), BODY, NOW_S)


@every_scheme
def test_during_a_rotation_both_secrets_pass_and_afterwards_the_old_one_does_not(
    spec: Verification, sign: Sign
) -> None:
    old, new = sign(OTHER, BODY, NOW_S), sign(SECRET, BODY, NOW_S)
    verify(spec, [SECRET, OTHER], old, BODY, NOW_S)
    verify(spec, [SECRET, OTHER], new, BODY, NOW_S)
    _refused(spec, old)


@every_scheme
def test_another_tenants_secret_is_refused(spec: Verification, sign: Sign) -> None:
    _refused(spec, sign(OTHER, BODY, NOW_S))


@every_scheme
def test_a_message_without_credentials_is_refused(spec: Verification, sign: Sign) -> None:
    for name in sign(SECRET, BODY, NOW_S):
        headers = sign(SECRET, BODY, NOW_S)
        if name == "x-github-delivery":
            continue
        _refused(spec, {key: value for key, value in headers.items() if key != name})
        _refused(spec, {**headers, name: ""})
        _refused(spec, {**headers, name: "  "})


@every_scheme
@pytest.mark.parametrize("secrets", [(), (b"",)])
def test_without_a_secret_everything_is_refused(
    spec: Verification, sign: Sign, secrets: tuple[bytes, ...]
) -> None:
    _refused(spec, sign(SECRET, BODY, NOW_S), secrets=secrets)
    if spec is not BEARER:
        _refused(spec, sign(b"", BODY, NOW_S), secrets=secrets)


@signed_schemes
def test_a_body_that_was_written_anew_is_refused(spec: Verification, sign: Sign) -> None:
    again = json.dumps(json.loads(BODY), separators=(",", ":")).encode()
    assert again != BODY
    _refused(spec, sign(SECRET, BODY, NOW_S), again)
    _refused(spec, sign(SECRET, BODY, NOW_S), BODY + b"\n")


@signed_schemes
@pytest.mark.parametrize(
    "garbage",
    ["x", "é", "\udcff", "v1,", "v1,é", "v1a,AAAA", "t=,v1=", "sha256=", "sha256=zz", "0" * 64, "=" * 100],
)
def test_a_wrong_signature_is_refused_and_nothing_else_happens(
    spec: Verification, sign: Sign, garbage: str
) -> None:
    headers = sign(SECRET, BODY, NOW_S)
    name = next(name for name in headers if "signature" in name)
    _refused(spec, {**headers, name: garbage})
    cut = headers[name][:-4]
    _refused(spec, {**headers, name: cut})


@timed_schemes
@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_message_six_minutes_off_is_refused_though_its_signature_is_right(
    spec: Verification, sign: Sign, minutes: int
) -> None:
    _refused(spec, sign(SECRET, BODY, NOW_S + minutes * 60))


@timed_schemes
@pytest.mark.parametrize("sign_of", [-1, 1])
def test_a_message_at_the_edge_of_the_window_passes_and_a_second_past_it_does_not(
    spec: Verification, sign: Sign, sign_of: int
) -> None:
    at_s = NOW_S + sign_of * TOLERANCE_S
    verify(spec, [SECRET], sign(SECRET, BODY, at_s), BODY, NOW_S)
    _refused(spec, sign(SECRET, BODY, at_s + sign_of))


@timed_schemes
def test_an_old_message_with_a_fresh_time_is_refused(spec: Verification, sign: Sign) -> None:
    old, fresh = sign(SECRET, BODY, NOW_S - 3_600), sign(SECRET, BODY, NOW_S)
    for name, value in old.items():
        _refused(spec, {**old, name: value.replace(str(int(NOW_S - 3_600)), str(int(NOW_S)))})
    if "webhook-timestamp" in old:
        _refused(spec, {**old, "webhook-timestamp": fresh["webhook-timestamp"]})


@pytest.mark.parametrize("time", ["", "x", "-1", "1e9", " 1614265330.5", "١٦١٤٢٦٥٣٣٠", "9" * 40])
def test_a_time_that_is_no_count_of_seconds_is_refused(time: str) -> None:
    _refused(STANDARD, {**_sign_standard(SECRET, BODY, NOW_S), "webhook-timestamp": time})
    _refused(STRIPE, {"stripe-signature": f"t={time},v1={'0' * 64}"})


def test_two_times_in_one_stripe_signature_are_refused() -> None:
    headers = _sign_stripe(SECRET, BODY, NOW_S)
    _refused(STRIPE, {"stripe-signature": headers["stripe-signature"] + f",t={int(NOW_S)}"})


@pytest.mark.parametrize("message_id", ["a.b", "a b", "é", "x" * 256])
def test_an_id_that_could_be_read_as_another_is_refused(message_id: str) -> None:
    signed = f"{message_id}.{int(NOW_S)}.".encode() + BODY
    signature = base64.b64encode(hmac.digest(_key(SECRET), signed, "sha256")).decode()
    headers = _sign_standard(SECRET, BODY, NOW_S)
    _refused(STANDARD, {**headers, "webhook-id": message_id, "webhook-signature": f"v1,{signature}"})


def test_a_signature_for_one_id_does_not_pass_for_another() -> None:
    _refused(STANDARD, {**_sign_standard(SECRET, BODY, NOW_S), "webhook-id": "msg_other"})


def test_a_list_of_signatures_passes_if_one_is_right_and_a_list_without_end_is_refused() -> None:
    headers = _sign_standard(SECRET, BODY, NOW_S)
    right, wrong = headers["webhook-signature"], "v1," + base64.b64encode(b"0" * 32).decode()
    verify(STANDARD, [SECRET], {**headers, "webhook-signature": f"{wrong} {right}"}, BODY, NOW_S)
    _refused(STANDARD, {**headers, "webhook-signature": " ".join([wrong] * 100 + [right])})


def test_the_id_of_a_stripe_message_is_the_same_for_a_replay_and_another_for_another_message() -> None:
    headers = _sign_stripe(SECRET, BODY, NOW_S)
    first = verify(STRIPE, [SECRET], headers, BODY, NOW_S).delivery_id
    assert first == verify(STRIPE, [SECRET], headers, BODY, NOW_S + 60).delivery_id
    later = _sign_stripe(SECRET, BODY, NOW_S + 1)
    assert first != verify(STRIPE, [SECRET], later, BODY, NOW_S).delivery_id
    assert first not in headers["stripe-signature"]


def test_a_generic_signature_may_be_hex_or_base64_with_or_without_a_prefix() -> None:
    digest = hmac.digest(SECRET, BODY, "sha256")
    in_hex, in_base64 = digest.hex(), base64.b64encode(digest).decode()
    for text in (in_hex, in_hex.upper(), "sha256=" + in_hex, in_base64):
        assert verify(HMAC, [SECRET], {"x-signature": text}, BODY, NOW_S).delivery_id == ""


def test_a_secret_whose_base64_is_broken_lets_nothing_pass() -> None:
    _refused(STANDARD, _sign_standard(SECRET, BODY, NOW_S), secrets=(b"whsec_!!!",))
    _refused(STANDARD, _asymmetric(), secrets=(b"whpk_!!!",))
    _refused(STANDARD, _asymmetric(), secrets=(b"whpk_AAAA",))


def test_scheme_none_takes_everything() -> None:
    assert verify(Verification(scheme=VerifyScheme.NONE), [], {}, b"", NOW_S).delivery_id == ""


def test_the_token_of_a_bearer_header_is_found() -> None:
    assert bearer_token({"authorization": "bearer  abc "}) == "abc"
    for headers in ({}, {"authorization": ""}, {"authorization": "Bearer"}, {"authorization": "Basic abc"}):
        with pytest.raises(Unauthenticated, match="Bearer"):
            bearer_token(headers)
