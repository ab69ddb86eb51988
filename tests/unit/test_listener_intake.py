"""Who is let in, and what becomes of a body: the judgement of the intake without HTTP."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence

import pytest
from http_listener import GOOD, SCHEMA, TENANTS, key, key_info, revision

from jobico import limits
from jobico.change import AcceptResult, IdempotencyKey
from jobico.errors import Forbidden, InvalidInput, JobicoError, NodeUnavailable, NotFound, Unauthenticated
from jobico.event import Event
from jobico.routes import Routes
from jobico.schemas import Validator
from nodes.listener.credentials import Credentials, bearer_of
from nodes.listener.directory import Directory
from nodes.listener.intake import Accepted, Intake, Sender
from nodes.listener.query import PostQuery

SECRET = b"hook-secret"
BODY = b'{"customerId": "c-1", "amount": 3}'


class MemoryQueue:
    """A queue that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.keys: list[IdempotencyKey | None] = []

    async def accept(
        self, events: Sequence[Event], idempotency: IdempotencyKey | None = None
    ) -> AcceptResult:
        self.events += events
        self.keys.append(idempotency)
        return AcceptResult(tuple(event.id for event in events), fresh=True)


class OneSecret:
    def values(self, tenant: str, name: str) -> Sequence[bytes]:
        return (SECRET,) if (tenant, name) == ("acme", "HOOK") else ()


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue()


@pytest.fixture
def intake(queue: MemoryQueue) -> Intake:
    intake = Intake(queue, OneSecret())
    revisions = [revision(tenant) for tenant in TENANTS]
    validators = {digest: Validator(SCHEMA) for one in revisions for digest in one.schemas.values()}
    intake.directory = Directory(Routes.build(revisions), validators)
    roles = ("admin", "send", "read")
    intake.credentials = Credentials(key_info(tenant, role) for tenant in TENANTS for role in roles)
    intake.known = True
    return intake


def sender(token: str = "", headers: Mapping[str, str] | None = None, body: bytes = BODY) -> Sender:
    async def read() -> bytes:
        return body

    return Sender(f"Bearer {token}" if token else None, lambda: headers or {}, read)


def admit(intake: Intake, who: Sender, event: str = "customer", tenant: str = "acme") -> str:
    admission = asyncio.run(intake.admit(tenant, event, who))
    assert (admission.route.tenant, admission.route.event.id) == (tenant, event)
    return admission.delivery_id


def take(
    intake: Intake,
    body: bytes,
    *,
    event: str = "customer",
    query: PostQuery | None = None,
    idem: str | None = None,
) -> Accepted:
    async def run() -> Accepted:
        admission = await intake.admit("acme", event, sender(key()))
        return await intake.take(admission, body, query or PostQuery(), idem)

    return asyncio.run(run())


def signed(body: bytes = BODY) -> dict[str, str]:
    return {"x-hub-signature-256": "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()}


class TestAdmission:
    @pytest.mark.parametrize(
        ("token", "tenant", "event", "error"),
        [
            (key(), "acme", "customer", None),
            (key(role="send"), "acme", "customer", None),
            (key(role="read"), "acme", "customer", Forbidden),
            (key("globex"), "acme", "customer", NotFound),
            (key("globex"), "acme", "nope", NotFound),
            (key(), "acme", "nope", NotFound),
            (key(), "acme", "inner", NotFound),
            (key(), "nobody", "customer", NotFound),
            ("wrong", "acme", "customer", Unauthenticated),
            ("wrong", "acme", "open", Unauthenticated),
            ("", "acme", "customer", Unauthenticated),
            ("", "acme", "nope", Unauthenticated),
            ("", "acme", "inner", Unauthenticated),
            ("", "nobody", "customer", Unauthenticated),
            ("", "acme", "open", None),
        ],
    )
    def test_each_key_opens_what_it_should(
        self, intake: Intake, token: str, tenant: str, event: str, error: type[JobicoError] | None
    ) -> None:
        if error is None:
            assert admit(intake, sender(token), event, tenant) == ""
            return
        with pytest.raises(JobicoError) as raised:
            admit(intake, sender(token), event, tenant)
        assert type(raised.value) is error

    def test_a_signature_lets_in_without_a_key(self, intake: Intake) -> None:
        headers = {**signed(), "x-github-delivery": "d-1"}
        assert admit(intake, sender(headers=headers), "signed") == "d-1"

    @pytest.mark.parametrize("tenant", ["acme", "globex"])
    def test_a_signature_of_another_body_or_tenant_does_not(self, intake: Intake, tenant: str) -> None:
        body = BODY if tenant == "globex" else BODY + b" "
        with pytest.raises(Unauthenticated):
            admit(intake, sender(headers=signed(), body=body), "signed", tenant)

    def test_all_refusals_of_strangers_read_alike(self, intake: Intake) -> None:
        """Only the log tells why."""
        messages = set()
        for event, who in (("nope", sender()), ("customer", sender("x")), ("signed", sender())):
            with pytest.raises(Unauthenticated) as raised:
                admit(intake, who, event)
            messages.add(raised.value.message)
            assert raised.value.detail["why"]
        assert len(messages) == 1

    def test_a_revoked_key_lets_nobody_in(self, intake: Intake) -> None:
        intake.credentials.put("acme-admin", None)
        with pytest.raises(Unauthenticated):
            admit(intake, sender(key()))

    def test_an_event_whose_schema_is_on_the_way_is_worth_another_try(self, intake: Intake) -> None:
        intake.directory = Directory(waiting=frozenset({("acme", "customer")}))
        with pytest.raises(NodeUnavailable):
            admit(intake, sender(key()))

    def test_before_control_was_heard_nobody_is_turned_away(self, queue: MemoryQueue) -> None:
        with pytest.raises(NodeUnavailable):
            admit(Intake(queue, OneSecret()), sender("wrong"))


class TestTaking:
    def test_an_event_keeps_the_bytes_that_were_sent(self, intake: Intake, queue: MemoryQueue) -> None:
        accepted = take(intake, b' {"customerId" : "c"}\n')
        (event,) = queue.events
        assert event.payload == b' {"customerId" : "c"}\n'
        assert (event.tenant, event.event, event.job, event.queue) == (
            "acme",
            "customer",
            "customers",
            "plain",
        )
        assert accepted == Accepted((event.id,), batch=False, fresh=True)

    def test_an_ordered_event_has_its_key(self, intake: Intake, queue: MemoryQueue) -> None:
        take(intake, b'{"data": [{"customerId": "a"}, {"customerId": 7}]}', event="keyed")
        assert [(event.ordered, event.order_key) for event in queue.events] == [(True, "a"), (True, "7")]

    def test_a_delay_becomes_a_time(self, intake: Intake, queue: MemoryQueue) -> None:
        take(intake, BODY, query=PostQuery(delay_ms=60_000))
        (event,) = queue.events
        assert event.ready_at_ms == event.accepted_ms + 60_000

    def test_keys_are_scoped_and_of_two_kinds(self, intake: Intake, queue: MemoryQueue) -> None:
        """A sender's key cannot meet a delivery id, nor a key of another event."""

        async def signed_with_a_key() -> None:
            headers = {**signed(), "x-github-delivery": "same"}
            admission = await intake.admit("acme", "signed", sender(headers=headers))
            await intake.take(admission, BODY, PostQuery(), "ignored")

        take(intake, BODY, idem="same")
        take(intake, BODY, event="keyed", idem="same")
        asyncio.run(signed_with_a_key())
        kept = [one.key for one in queue.keys if one is not None]
        assert kept == ["acme/customer/key:same", "acme/keyed/key:same", "acme/signed/delivery:same"]

    def test_a_key_is_kept_for_its_window_with_the_digest_of_the_body(
        self, intake: Intake, queue: MemoryQueue
    ) -> None:
        take(intake, BODY, idem="k")
        (kept,) = queue.keys
        assert kept is not None
        assert kept.body_digest == hashlib.sha256(BODY).digest()
        assert kept.expires_ms - kept.now_ms == limits.IDEMPOTENCY_WINDOW_MS
        assert abs(kept.now_ms - time.time() * 1_000) < 60_000

    def test_a_batch_cannot_wait(self, intake: Intake) -> None:
        with pytest.raises(InvalidInput):
            take(intake, b'{"data": [1]}', event="open", query=PostQuery(wait_ms=1))

    def test_a_bad_event_in_a_batch_stores_nothing(self, intake: Intake, queue: MemoryQueue) -> None:
        with pytest.raises(JobicoError) as raised:
            take(intake, b'{"data": [{"customerId": "c"}, {"customerId": 1}, {}]}')
        pointers = [violation["pointer"] for violation in raised.value.detail["violations"]]
        assert pointers == ["/data/1/customerId", "/data/2"]
        assert queue.events == []


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (None, ""), ("", ""), ("Bearer", ""), ("Bearer ", ""), ("Bearer x", "x"), ("bearer  x ", "x"),
        ("Basic x", ""), ("Bearerx", ""),
    ],
)  # fmt: skip
def test_a_bearer_header_has_one_token(header: str | None, token: str) -> None:
    assert bearer_of(header) == token


def test_a_good_event_is_one_for_the_schema() -> None:
    Validator(SCHEMA).check(GOOD)
