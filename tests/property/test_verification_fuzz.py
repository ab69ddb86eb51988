"""Whatever the headers and secrets, honest messages pass and others are Unauthenticated, and nothing else."""

import base64
import hmac

from hypothesis import given
from hypothesis import strategies as st

from jobico.definition import Verification, VerifyScheme
from jobico.errors import Unauthenticated
from nodes.listener.verification import verify

NOW_S = 1_700_000_000
NAMES = st.sampled_from(
    [
        "authorization",
        "x-hub-signature-256",
        "x-github-delivery",
        "stripe-signature",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "x-signature",
    ]
)
PARTS = st.sampled_from(
    [
        "v1,",
        "v1a,",
        "sha256=",
        f"t={NOW_S}",
        str(NOW_S),
        ",v1=",
        " ",
        "=",
        "Bearer ",
        "a" * 64,
        "A" * 43 + "=",
        "é",
        "\udc80",
    ]
)
VALUES = st.text(max_size=80) | st.lists(PARTS, max_size=8).map("".join)
SECRETS = (
    st.binary(max_size=40)
    | st.binary(max_size=40).map(lambda raw: b"whsec_" + raw)
    | st.binary(max_size=32).map(lambda raw: b"whpk_" + base64.b64encode(raw))
)
SPECS = st.sampled_from([Verification(scheme, secret="S", header="X-Signature") for scheme in VerifyScheme])


@given(SPECS, st.lists(SECRETS, max_size=3), st.dictionaries(NAMES, VALUES), st.binary(max_size=50))
def test_arbitrary_headers_are_refused_and_nothing_else_happens(
    spec: Verification, secrets: list[bytes], headers: dict[str, str], body: bytes
) -> None:
    try:
        verify(spec, secrets, headers, body, NOW_S)
    except Unauthenticated:
        return
    token = headers.get("authorization", "").partition(" ")[2].strip().encode("utf-8", "surrogateescape")
    assert spec.scheme is VerifyScheme.NONE or (spec.scheme is VerifyScheme.BEARER and token in secrets)


@given(st.binary(min_size=1, max_size=64), st.binary(max_size=200), st.binary(max_size=200))
def test_a_signature_passes_for_the_bytes_that_were_signed_and_for_no_others(
    secret: bytes, body: bytes, other: bytes
) -> None:
    headers = {"x-hub-signature-256": "sha256=" + hmac.digest(secret, body, "sha256").hex()}
    spec = Verification(VerifyScheme.GITHUB, secret="S")
    verify(spec, [secret], headers, body, NOW_S)
    if other != body:
        try:
            verify(spec, [secret], headers, other, NOW_S)
        except Unauthenticated:
            return
        raise AssertionError(other)
