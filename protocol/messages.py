"""Every message of the protocol, as typed payloads; `SPEC.md` is the authority on what they mean.

A payload is a msgpack map of the fields of its type. A request and its reply are declared together, with the role
that answers and the roles that may ask (see `protocol/security.py` for who has which role).
"""

from typing import Any, ClassVar

import msgspec

from jobico.artifact import ArtifactInfo, ModuleReport
from jobico.change import DeadLetter
from jobico.definition import Revision
from jobico.event import Delivery, EventStatus, Settlement
from jobico.registry import NodeInfo
from jobico.tenancy import KeyInfo, Quotas, TenantInfo

__all__ = [
    "Abort",
    "Artifact",
    "ArtifactContent",
    "ArtifactInfo",
    "Artifacts",
    "BindArtifacts",
    "CancelEvent",
    "CheckArtifact",
    "ControlChange",
    "ControlSnapshot",
    "Counted",
    "CreateKey",
    "CreateTenant",
    "DeadLetters",
    "DeleteTenant",
    "Deliveries",
    "DeployJob",
    "Deployed",
    "Done",
    "EmitEvent",
    "EventAccepted",
    "EventShown",
    "Events",
    "Execution",
    "Executions",
    "Failure",
    "Feed",
    "GetArtifact",
    "GetSnapshot",
    "GetTotals",
    "Goodbye",
    "Heartbeat",
    "HeartbeatSeen",
    "Hello",
    "Job",
    "Jobs",
    "KeyInfo",
    "Keys",
    "ListArtifacts",
    "ListDeadLetters",
    "ListEvents",
    "ListExecutions",
    "ListJobs",
    "ListKeys",
    "ListNodes",
    "ListQueues",
    "ListTenants",
    "MESSAGES",
    "Message",
    "ModuleReport",
    "NewKey",
    "NodeInfo",
    "Nodes",
    "Ping",
    "Pong",
    "PurgeDeadLetters",
    "PutArtifact",
    "Queues",
    "Quotas",
    "Recorded",
    "Records",
    "Renewal",
    "ReplayDeadLetters",
    "ResolveArtifact",
    "Returned",
    "RevokeKey",
    "RollbackJob",
    "Settlements",
    "ShowEvent",
    "ShowExecution",
    "ShowJob",
    "ShowTenant",
    "Tenant",
    "TenantInfo",
    "Tenants",
    "Totals",
    "UndeployJob",
    "Welcome",
]

MESSAGES: dict[str, type["Message"]] = {}
"""Every message type by the name that its header carries."""


class Message(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A payload; `TYPE` is what the header says, `REPLY` the payload that answers it (requests only)."""

    TYPE: ClassVar[str] = ""
    REPLY: ClassVar["type[Message] | None"] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Registers the type."""
        super().__init_subclass__(**kwargs)
        if cls.TYPE:
            assert cls.TYPE not in MESSAGES
            MESSAGES[cls.TYPE] = cls


# --- Any node ---------------------------------------------------------------------------------------------------


class Done(Message):
    """An answer that says no more than that it is done."""

    TYPE = "done"


class Failure(Message):
    """The answer to a request that failed: a stable code from `jobico.errors`, text for people, facts."""

    TYPE = "error"
    code: str
    message: str
    detail: dict[str, Any] = {}


class Ping(Message):
    """Asks a REP socket whether its node is ready."""

    TYPE = "ping"


class Pong(Message):
    """Who answers, and whether it is ready to work."""

    TYPE = "pong"
    node: str
    ready: bool
    version: str = ""


Ping.REPLY = Pong

# --- Executor and listener: PUSH/PULL ---------------------------------------------------------------------------


class Deliveries(Message):
    """Listener to executor: run these, in this order."""

    TYPE = "deliveries"
    listener: str
    items: tuple[Delivery, ...]


class Hello(Message):
    """Listener to executor, first on every new connection, and again while unanswered: who are you?"""

    TYPE = "hello"
    listener: str
    instance: str  # of the listener


class Welcome(Message):
    """Executor to listener, in answer to Hello: this run of me, and the tokens of yours that I hold."""

    TYPE = "welcome"
    executor: str
    instance: str
    held: tuple[int, ...] = ()


class Settlements(Message):
    """Executor to listener: what came of these attempts."""

    TYPE = "settlements"
    executor: str
    instance: str
    items: tuple[Settlement, ...]


class Renewal(Message):
    """Executor to listener, each LEASE_RENEW_MS while it holds any: these tokens I still hold; one is running."""

    TYPE = "renewal"
    executor: str
    instance: str
    running: int = 0  # token; 0 is none of this listener's
    held: tuple[int, ...] = ()


class Returned(Message):
    """Executor to listener: these I have not begun and will not, take them back (no attempt is counted)."""

    TYPE = "returned"
    executor: str
    instance: str
    tokens: tuple[int, ...]
    draining: bool = False  # the executor is stopping: send no more


class Abort(Message):
    """Listener to executor: end this attempt if it runs, drop it if it waits; settle it as cancelled."""

    TYPE = "abort"
    listener: str
    tokens: tuple[int, ...]


# --- Listener and recorder: PUSH/PULL, and the feed -------------------------------------------------------------


class Records(Message):
    """Listener to recorder: outbox rows `first` to `last`, without gaps."""

    TYPE = "records"
    listener: str
    first: int
    last: int
    items: tuple[bytes, ...]  # msgpack of a Record, each


class Recorded(Message):
    """Recorder to listener: everything up to outbox row `upto` is committed."""

    TYPE = "recorded"
    upto: int


class Feed(Message):
    """Recorder on PUB, topic `x.{tenant}.`: records just committed, in the order of their row numbers."""

    TYPE = "feed"
    first: int
    items: tuple[bytes, ...]  # msgpack of a Record, each, of one tenant


# --- Control ----------------------------------------------------------------------------------------------------


class ControlChange(Message):
    """Control on PUB, topic `c.`: one change; `seq` has no gaps. `value` None deletes.

    Tables and their keys: `tenants` name -> TenantInfo; `keys` key id -> KeyInfo; `jobs` `tenant/job` -> Revision
    (the current one); `nodes` name -> NodeInfo; `secrets` `tenant/name` -> sealed bytes; `peers` Z85 key -> role.
    """

    TYPE = "control.change"
    seq: int
    table: str
    key: str
    value: Any = None


class GetSnapshot(Message):
    """Asks for everything, with the number of the last change in it."""

    TYPE = "control.snapshot"


class ControlSnapshot(Message):
    """The tables of `ControlChange`, as of `seq`. `epoch` is new with every start of control's store."""

    TYPE = "control.state"
    seq: int
    epoch: str
    tables: dict[str, dict[str, Any]]


GetSnapshot.REPLY = ControlSnapshot


class Heartbeat(Message):
    """A node says that it is there; the answer tells the last change, so that a quiet loss is noticed."""

    TYPE = "node.heartbeat"
    node: NodeInfo


class HeartbeatSeen(Message):
    """The number of the last change."""

    TYPE = "node.seen"
    seq: int
    epoch: str


Heartbeat.REPLY = HeartbeatSeen


class Goodbye(Message):
    """A node leaves the registry."""

    TYPE = "node.goodbye"
    name: str
    instance: str


Goodbye.REPLY = Done


class ListNodes(Message):
    """Asks for the registry."""

    TYPE = "node.list"


class Nodes(Message):
    """The registry."""

    TYPE = "nodes"
    items: tuple[NodeInfo, ...]


ListNodes.REPLY = Nodes


class CreateTenant(Message):
    """Makes a tenant; it may exist already if `exist_ok`. Changes quotas that are given."""

    TYPE = "tenant.create"
    request_id: str
    name: str
    quotas: Quotas | None = None
    exist_ok: bool = False


class Tenant(Message):
    """A tenant and what it has."""

    TYPE = "tenant"
    tenant: TenantInfo
    jobs: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    keys: int = 0


CreateTenant.REPLY = Tenant


class ShowTenant(Message):
    """Asks for one tenant."""

    TYPE = "tenant.show"
    name: str


ShowTenant.REPLY = Tenant


class ListTenants(Message):
    """Asks for all tenants."""

    TYPE = "tenant.list"


class Tenants(Message):
    """All tenants that the caller may see."""

    TYPE = "tenants"
    items: tuple[TenantInfo, ...]


ListTenants.REPLY = Tenants


class DeleteTenant(Message):
    """Deletes a tenant with its keys and jobs; its queued events end as dead letters `no-route`."""

    TYPE = "tenant.delete"
    request_id: str
    name: str


DeleteTenant.REPLY = Done


class CreateKey(Message):
    """Makes a bearer key of a tenant."""

    TYPE = "key.create"
    request_id: str
    tenant: str
    role: str = "admin"
    name: str = ""


class NewKey(Message):
    """The only message that ever holds a bearer key."""

    TYPE = "key.new"
    key: str
    info: KeyInfo


CreateKey.REPLY = NewKey


class ListKeys(Message):
    """Asks for the keys of a tenant."""

    TYPE = "key.list"
    tenant: str


class Keys(Message):
    """Keys, revoked ones too."""

    TYPE = "keys"
    items: tuple[KeyInfo, ...]


ListKeys.REPLY = Keys


class RevokeKey(Message):
    """Revokes a key for good."""

    TYPE = "key.revoke"
    request_id: str
    tenant: str
    id: str


RevokeKey.REPLY = Done


class DeployJob(Message):
    """Deploys a definition, or with `dry_run` only checks it. `files` has digests of uploaded files by their name."""

    TYPE = "job.deploy"
    request_id: str
    source: bytes  # YAML
    files: dict[str, str] = {}
    update: bool = False
    dry_run: bool = False


class Deployed(Message):
    """The revision that is (or with a dry run, would be) current; `previous` is the one it replaces, 0 if none."""

    TYPE = "job.deployed"
    revision: Revision
    previous: int = 0
    unchanged: bool = False
    warnings: tuple[str, ...] = ()


DeployJob.REPLY = Deployed


class RollbackJob(Message):
    """Makes an earlier revision current again; `to` 0 is the one before the current."""

    TYPE = "job.rollback"
    request_id: str
    tenant: str
    job: str
    to: int = 0


RollbackJob.REPLY = Deployed


class UndeployJob(Message):
    """Withdraws a job: its events are unknown from now on; queued ones end as dead letters `no-route`."""

    TYPE = "job.undeploy"
    request_id: str
    tenant: str
    job: str


UndeployJob.REPLY = Done


class ShowJob(Message):
    """Asks for a job: a revision (0 is the current), and the numbers of all that are kept."""

    TYPE = "job.show"
    tenant: str
    job: str
    number: int = 0


class Job(Message):
    """A job."""

    TYPE = "job"
    revision: Revision
    current: int
    kept: tuple[int, ...]


ShowJob.REPLY = Job


class ListJobs(Message):
    """Asks for the current revisions of a tenant, or with an empty name of all that the caller may see."""

    TYPE = "job.list"
    tenant: str = ""


class Jobs(Message):
    """Current revisions."""

    TYPE = "jobs"
    items: tuple[Revision, ...]


ListJobs.REPLY = Jobs

# --- Repository -------------------------------------------------------------------------------------------------


class CheckArtifact(Message):
    """Asks what is wrong with a file, storing nothing. Raises invalid-module or invalid-schema where it is unusable."""

    TYPE = "artifact.check"
    kind: str
    content: bytes
    function: str = "event"


class PutArtifact(Message):
    """Stores a file of a tenant under its digest and, where `name` is given, under that name too."""

    TYPE = "artifact.put"
    request_id: str
    tenant: str
    kind: str
    content: bytes
    name: str = ""


class Artifact(Message):
    """What is known of an artifact."""

    TYPE = "artifact"
    info: ArtifactInfo


CheckArtifact.REPLY = Artifact
PutArtifact.REPLY = Artifact


class BindArtifacts(Message):
    """Gives names to stored digests, all or none: part of a deploy."""

    TYPE = "artifact.bind"
    request_id: str
    tenant: str
    names: dict[str, str]  # "kind/name" -> digest


BindArtifacts.REPLY = Done


class ResolveArtifact(Message):
    """Asks for what a reference (a name or a digest) of a tenant means, reported for that entry `function`."""

    TYPE = "artifact.resolve"
    tenant: str
    kind: str
    ref: str
    function: str = "event"


ResolveArtifact.REPLY = Artifact


class GetArtifact(Message):
    """Asks for the bytes under a digest. A tenant gets only what it has uploaded; nodes get all."""

    TYPE = "artifact.get"
    digest: str
    tenant: str = ""


class ArtifactContent(Message):
    """The bytes."""

    TYPE = "artifact.content"
    content: bytes


GetArtifact.REPLY = ArtifactContent


class ListArtifacts(Message):
    """Asks for the artifacts of a tenant; with an empty name, all that the caller may see."""

    TYPE = "artifact.list"
    tenant: str = ""
    kind: str = ""


class Artifacts(Message):
    """Artifacts."""

    TYPE = "artifacts"
    items: tuple[ArtifactInfo, ...]


ListArtifacts.REPLY = Artifacts

# --- Recorder ---------------------------------------------------------------------------------------------------


class ListExecutions(Message):
    """Asks for records, newest first. Empty filters match all; `before` is the row to go on from (0: the newest)."""

    TYPE = "execution.list"
    tenant: str = ""
    job: str = ""
    event: str = ""
    outcome: str = ""
    since_ms: int = 0
    before: int = 0
    limit: int = 100


class Executions(Message):
    """Records with their row numbers; `next` is what to give as `before` for more, 0 if there are none."""

    TYPE = "executions"
    rows: tuple[tuple[int, bytes], ...]
    next: int = 0
    newest: int = 0  # row number of the newest record there is; the feed goes on from here


ListExecutions.REPLY = Executions


class ShowExecution(Message):
    """Asks for all attempts of one event."""

    TYPE = "execution.show"
    tenant: str
    id: str


class Execution(Message):
    """Its records, by attempt."""

    TYPE = "execution"
    items: tuple[bytes, ...]


ShowExecution.REPLY = Execution


class GetTotals(Message):
    """Asks for counts since the recorder's store was made."""

    TYPE = "execution.totals"
    tenant: str = ""


class Totals(Message):
    """Counts of final records by outcome, of all records, and of bytes kept."""

    TYPE = "totals"
    final: dict[str, int]
    records: int
    kept_bytes: int


GetTotals.REPLY = Totals

# --- Listener ---------------------------------------------------------------------------------------------------


class ShowEvent(Message):
    """Asks a listener for one event that it owns or owned."""

    TYPE = "event.show"
    tenant: str
    id: str


class EventShown(Message):
    """The event."""

    TYPE = "event"
    status: EventStatus


ShowEvent.REPLY = EventShown


class ListEvents(Message):
    """Asks for events in the queue, oldest first; `state` empty is all of queued, running, delayed."""

    TYPE = "event.list"
    tenant: str = ""
    event: str = ""
    state: str = ""
    limit: int = 100


class Events(Message):
    """Events in the queue: id, tenant, event, job, queue, state, attempts, accepted_ms, ready_at_ms, executor."""

    TYPE = "events"
    items: tuple[dict[str, Any], ...]
    total: int


ListEvents.REPLY = Events


class CancelEvent(Message):
    """Withdraws an event that is queued, delayed or running."""

    TYPE = "event.cancel"
    request_id: str
    tenant: str
    id: str


CancelEvent.REPLY = Done


class EmitEvent(Message):
    """Control's clock to a listener: accept this event once per `key`."""

    TYPE = "event.emit"
    request_id: str
    tenant: str
    event: str
    payload: bytes
    key: str


class EventAccepted(Message):
    """The id, whether made now or by an earlier request with the same key."""

    TYPE = "event.accepted"
    id: str


EmitEvent.REPLY = EventAccepted


class ListDeadLetters(Message):
    """Asks for dead letters, newest first; `before` is the id to go on from."""

    TYPE = "dead.list"
    tenant: str = ""
    event: str = ""
    reason: str = ""
    before: str = ""
    limit: int = 100


class DeadLetters(Message):
    """Dead letters, payloads cut at RECORD_PAYLOAD_BYTES_MAX."""

    TYPE = "dead.letters"
    items: tuple[DeadLetter, ...]
    total: int


ListDeadLetters.REPLY = DeadLetters


class ReplayDeadLetters(Message):
    """Puts dead letters back into the queue: those with `ids`, or all that match the filters, `limit` at most."""

    TYPE = "dead.replay"
    request_id: str
    tenant: str
    ids: tuple[str, ...] = ()
    event: str = ""
    reason: str = ""
    limit: int = 1_000


class PurgeDeadLetters(Message):
    """Deletes dead letters, chosen as with replay."""

    TYPE = "dead.purge"
    request_id: str
    tenant: str
    ids: tuple[str, ...] = ()
    event: str = ""
    reason: str = ""
    limit: int = 1_000


class Counted(Message):
    """How many things a bulk request did, and whether more match."""

    TYPE = "counted"
    count: int
    more: bool = False


ReplayDeadLetters.REPLY = Counted
PurgeDeadLetters.REPLY = Counted


class ListQueues(Message):
    """Asks for the depth of each queue."""

    TYPE = "queue.list"
    tenant: str = ""


class Queues(Message):
    """One map a queue: tenant, job, queue, ready, delayed, running, bytes, oldest_ms, dead."""

    TYPE = "queues"
    items: tuple[dict[str, Any], ...]
    outbox: int = 0  # records not yet acknowledged by the recorder


ListQueues.REPLY = Queues

