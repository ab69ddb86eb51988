"""Signed messages over HTTP, one event a scheme: whom a listener lets in, and what it answers the rest."""

import base64
import itertools
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import webhook_senders as senders
from http_listener import TENANTS, Listener, bearer, running_listener

from jobico.definition import (
    Abi,
    EventDefinition,
    JobDefinition,
    ModulePin,
    QueueDefinition,
    Revision,
    RuntimeDefinition,
    Verification,
    VerifyScheme,
)

BODY = b'{"b": 1,  "a": [1.0, "\\u00e9"]}'
REWRITTEN = json.dumps(json.loads(BODY), sort_keys=True).encode()
JSON = {"Content-Type": "application/json"}
SIX_MINUTES_S = 360
COUNT = itertools.count()


class Scheme(NamedTuple):
    """A scheme as an event of every tenant has it."""

    event: str
    verify: Verification
    send: senders.Sender
    signs: bool = True  # the body
    timed: bool = False
    identified: bool = False  # a message that is sent again is known to be the same

    def secret(self, tenant: str, age: str) -> bytes:
        """The secret of that tenant: `new` and `old` are live, `gone` no longer is."""
        text = f"{tenant}-{self.event}-{age}".encode()
        return b"whsec_" + base64.b64encode(text) if self.event == "standard" else text

    def live(self, tenant: str) -> list[bytes]:
        """What the platform has of it."""
        values = [self.secret(tenant, "new"), self.secret(tenant, "old")]
        return [senders.public_key(value) for value in values] if self.event == "standard-v1a" else values


def _verify(scheme: VerifyScheme, name: str, header: str = "") -> Verification:
    return Verification(scheme=scheme, secret=name, header=header)


SCHEMES = (
    Scheme("bearer", _verify(VerifyScheme.BEARER, "BEARER"), senders.bearer, signs=False),
    Scheme("github", _verify(VerifyScheme.GITHUB, "GITHUB"), senders.github, identified=True),
    Scheme("hmac", _verify(VerifyScheme.HMAC, "HMAC", "X-Signature"), senders.hmac_header),
    Scheme(
        "standard",
        _verify(VerifyScheme.STANDARD_WEBHOOKS, "STANDARD"),
        senders.standard,
        timed=True,
        identified=True,
    ),
    Scheme(
        "standard-v1a",
        _verify(VerifyScheme.STANDARD_WEBHOOKS, "V1A"),
        senders.standard_v1a,
        timed=True,
        identified=True,
    ),
    Scheme("stripe", _verify(VerifyScheme.STRIPE, "STRIPE"), senders.stripe, timed=True, identified=True),
)


def _job(tenant: str) -> Revision:
    events = tuple(
        EventDefinition(id=scheme.event, queue="q", runtime="r", verify=scheme.verify) for scheme in SCHEMES
    )
    unset = Verification(scheme=VerifyScheme.GITHUB, secret="NOT_SET")
    return Revision(
        definition=JobDefinition(
            id="hooks",
            tenant=tenant,
            queues=(QueueDefinition(id="q"),),
            runtimes=(RuntimeDefinition(id="r", module="m.wasm"),),
            events=(*events, EventDefinition(id="unset", queue="q", runtime="r", verify=unset)),
        ),
        number=1,
        created_ms=1,
        modules={"r": ModulePin(digest="sha256:" + "0" * 64, abi=Abi.JOBICOLET)},
        schemas={},
    )


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    home = Path(tempfile.mkdtemp(prefix="jb"))
    secrets = {
        f"{tenant}/{scheme.verify.secret}": scheme.live(tenant) for tenant in TENANTS for scheme in SCHEMES
    }
    with running_listener(home, jobs=[_job(tenant) for tenant in TENANTS], secrets=secrets) as running:
        yield running
    shutil.rmtree(home)


def _schemes(chosen: Sequence[Scheme] = SCHEMES) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("scheme", chosen, ids=[scheme.event for scheme in chosen])


every_scheme = _schemes()
signing_schemes = _schemes([scheme for scheme in SCHEMES if scheme.signs])
timed_schemes = _schemes([scheme for scheme in SCHEMES if scheme.timed])
identified_schemes = _schemes([scheme for scheme in SCHEMES if scheme.identified])


def _post(
    listener: Listener, scheme: Scheme, headers: dict[str, str], body: bytes = BODY, tenant: str = "acme"
) -> httpx.Response:
    url = f"{listener.url}/events/{tenant}/{scheme.event}"
    return httpx.post(url, content=body, headers=JSON | headers)


def _signed(scheme: Scheme, tenant: str = "acme", age: str = "new", **how: float | str) -> dict[str, str]:
    return scheme.send(scheme.secret(tenant, age), BODY, **{"message_id": f"m-{next(COUNT)}", **how})


def _check_refused(listener: Listener, answer: httpx.Response) -> None:
    """The sender learns nothing: not even whether there is such an event."""
    none = httpx.post(f"{listener.url}/events/nobody/nothing", content=BODY, headers=JSON)
    assert (answer.status_code, answer.content) == (401, none.content)
    assert answer.headers["www-authenticate"] == none.headers["www-authenticate"]


@every_scheme
@pytest.mark.parametrize("age", ["new", "old"])
def test_a_message_that_is_signed_with_a_live_secret_is_taken(
    listener: Listener, scheme: Scheme, age: str
) -> None:
    assert _post(listener, scheme, _signed(scheme, age=age)).status_code == 202


@every_scheme
def test_a_secret_that_was_rotated_out_is_refused(listener: Listener, scheme: Scheme) -> None:
    _check_refused(listener, _post(listener, scheme, _signed(scheme, age="gone")))


@every_scheme
def test_another_tenants_secret_is_refused_both_ways(listener: Listener, scheme: Scheme) -> None:
    _check_refused(listener, _post(listener, scheme, _signed(scheme, "globex")))
    _check_refused(listener, _post(listener, scheme, _signed(scheme), tenant="globex"))
    assert _post(listener, scheme, _signed(scheme, "globex"), tenant="globex").status_code == 202


@every_scheme
def test_another_tenants_bearer_key_is_answered_as_for_an_event_that_is_not_there(
    listener: Listener, scheme: Scheme
) -> None:
    foreign = _post(listener, scheme, bearer("globex"))
    none = httpx.post(f"{listener.url}/events/acme/nothing", content=BODY, headers=JSON | bearer("globex"))
    assert (foreign.status_code, foreign.content) == (none.status_code, none.content) == (404, none.content)


@every_scheme
def test_a_message_without_its_signature_is_refused(listener: Listener, scheme: Scheme) -> None:
    _check_refused(listener, _post(listener, scheme, {}))


@every_scheme
def test_each_header_of_a_scheme_is_needed(listener: Listener, scheme: Scheme) -> None:
    headers = _signed(scheme)
    for name in headers.keys() - {"X-GitHub-Delivery"}:
        for value in (None, ""):
            changed = {key: text for key, text in headers.items() if key != name}
            if value is not None:
                changed[name] = value
            _check_refused(listener, _post(listener, scheme, changed))


@every_scheme
def test_a_signature_that_is_wrong_by_a_character_is_refused(listener: Listener, scheme: Scheme) -> None:
    headers = _signed(scheme)
    name = next(key for key in headers if "ignature" in key or key == "Authorization")
    swapped = "0" if headers[name][-4] != "0" else "1"
    headers[name] = headers[name][:-4] + swapped + headers[name][-3:]
    _check_refused(listener, _post(listener, scheme, headers))


@signing_schemes
def test_a_body_that_was_written_anew_is_refused(listener: Listener, scheme: Scheme) -> None:
    """Though it means the same."""
    _check_refused(listener, _post(listener, scheme, _signed(scheme), body=REWRITTEN))


@signing_schemes
def test_a_chunked_body_is_verified_over_the_bytes_that_it_carries(
    listener: Listener, scheme: Scheme
) -> None:
    url = f"{listener.url}/events/acme/{scheme.event}"

    def pieces() -> Iterator[bytes]:
        yield BODY[:5]
        yield BODY[5:]

    assert httpx.post(url, content=pieces(), headers=JSON | _signed(scheme)).status_code == 202


@timed_schemes
@pytest.mark.parametrize("off_s", [-SIX_MINUTES_S, SIX_MINUTES_S])
def test_a_message_six_minutes_off_is_refused(listener: Listener, scheme: Scheme, off_s: int) -> None:
    _check_refused(listener, _post(listener, scheme, _signed(scheme, at_s=time.time() + off_s)))


@timed_schemes
@pytest.mark.parametrize("off_s", [-240, 240])
def test_a_message_four_minutes_off_is_taken(listener: Listener, scheme: Scheme, off_s: int) -> None:
    assert _post(listener, scheme, _signed(scheme, at_s=time.time() + off_s)).status_code == 202


@identified_schemes
def test_a_message_that_is_sent_again_is_given_the_first_answer(listener: Listener, scheme: Scheme) -> None:
    headers = _signed(scheme, at_s=time.time() + 100)  # stripe: no other test signs in that second
    first, again = (_post(listener, scheme, headers) for _ in range(2))
    assert first.status_code == again.status_code == 202
    assert first.content == again.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"


@identified_schemes
def test_who_replays_a_message_cannot_make_it_another_with_a_key_of_his_own(
    listener: Listener, scheme: Scheme
) -> None:
    headers = _signed(scheme, at_s=time.time() + 170)
    first = _post(listener, scheme, headers)
    again = _post(listener, scheme, headers | {"Idempotency-Key": "fresh"})
    assert first.json() == again.json()


@pytest.mark.parametrize("scheme", [s for s in SCHEMES if not s.identified], ids=["bearer", "hmac"])
def test_where_a_scheme_has_no_id_the_senders_key_is_what_counts(listener: Listener, scheme: Scheme) -> None:
    headers = _signed(scheme)
    assert _post(listener, scheme, headers).json() != _post(listener, scheme, headers).json()
    keyed = headers | {"Idempotency-Key": f"k-{scheme.event}"}
    assert _post(listener, scheme, keyed).json() == _post(listener, scheme, keyed).json()


def test_an_event_whose_secret_is_not_set_lets_nobody_in(listener: Listener) -> None:
    unset = Scheme("unset", Verification(scheme=VerifyScheme.GITHUB, secret="NOT_SET"), senders.github)
    for secret in (b"", b"NOT_SET", b"None"):
        _check_refused(listener, _post(listener, unset, senders.github(secret, BODY)))


def test_no_log_line_of_the_listener_has_a_secret_or_a_signature(listener: Listener) -> None:
    """After one good and one bad message of each scheme."""
    told: list[bytes] = []
    for scheme in SCHEMES:
        for age in ("new", "gone"):
            headers = _signed(scheme, age=age)
            _post(listener, scheme, headers)
            signatures = [v for k, v in headers.items() if "ignature" in k or k == "Authorization"]
            told += [scheme.secret("acme", age), *(value.encode() for value in signatures)]
    log = (Path(listener.settings.home) / "listener.log").read_bytes()
    assert b"authentication" in log, "refusals are logged"
    assert not [one for one in told if one in log]
