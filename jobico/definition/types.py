"""What a job is, as immutable types; they cross sockets and rest on disk as msgpack maps of their fields.

Nothing is checked here: `jobico.definition.parse_definition` makes these from YAML and checks them.
"""

from enum import StrEnum

import msgspec

from jobico import limits
from jobico.retry import RetryPolicy

__all__ = [
    "Abi",
    "Engine",
    "EventDefinition",
    "GuestLimits",
    "JobDefinition",
    "ModulePin",
    "Order",
    "QueueDefinition",
    "Revision",
    "RuntimeDefinition",
    "RuntimeSpec",
    "SchemaReference",
    "Verification",
    "VerifyScheme",
]


class Order(StrEnum):
    """What a queue promises about the order of its events."""

    NONE = "none"
    STRICT = "strict"
    KEY = "key"


class Abi(StrEnum):
    """How a guest is called (`docs/design.md` section 4)."""

    AUTO = "auto"
    JOBICOLET = "jobicolet"
    COMMAND = "command"
    COMPONENT = "component"


class Engine(StrEnum):
    """What runs a guest."""

    WASMTIME = "wasmtime"
    WASMER = "wasmer"


class VerifyScheme(StrEnum):
    """How a sender proves itself, besides a tenant's bearer key."""

    NONE = "none"
    BEARER = "bearer"
    STANDARD_WEBHOOKS = "standard-webhooks"
    GITHUB = "github"
    STRIPE = "stripe"
    HMAC = "hmac"


class Verification(msgspec.Struct, frozen=True, omit_defaults=True):
    """`verify:` of an event; `secret` names a secret of the tenant, `header` is for `hmac` alone."""

    scheme: VerifyScheme = VerifyScheme.BEARER
    secret: str = ""
    header: str = ""


class QueueDefinition(msgspec.Struct, frozen=True, omit_defaults=True):
    """A queue; `key` is a JSON Pointer (RFC 6901) and set exactly with `order: key`."""

    id: str
    name: str = ""
    order: Order = Order.NONE
    key: str = ""
    concurrency: int = 0  # runs at once; 0 is no bound of its own


class GuestLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one attempt may use."""

    time_ms: int = limits.GUEST_TIME_MS
    memory_bytes: int = limits.GUEST_MEMORY_BYTES
    fuel: int = 0  # 0: not counted
    result_bytes: int = limits.GUEST_RESULT_BYTES
    logs_bytes: int = limits.GUEST_LOGS_BYTES
    log_lines: int = limits.GUEST_LOG_LINES_MAX


class RuntimeDefinition(msgspec.Struct, frozen=True, omit_defaults=True):
    """A program and how to run it."""

    id: str
    module: str  # a name in the tenant's repository, or a digest
    name: str = ""
    function: str = "event"
    abi: Abi = Abi.AUTO
    engine: Engine = Engine.WASMTIME
    limits: GuestLimits = GuestLimits()
    env: dict[str, str] = {}
    secrets: tuple[str, ...] = ()
    emits: tuple[str, ...] = ()  # events that the guest may emit; deny by default


class SchemaReference(msgspec.Struct, frozen=True, omit_defaults=True):
    """The JSON Schema of an event; `ref` is a name in the tenant's repository, or a digest."""

    ref: str
    id: str = ""
    name: str = ""


class EventDefinition(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event and what is done with it; `ok` and `error` are ids of follow-up events of the same job."""

    id: str
    queue: str
    runtime: str
    name: str = ""
    schema: SchemaReference | None = None
    verify: Verification = Verification()
    retry: RetryPolicy = RetryPolicy()
    ok: str = ""
    error: str = ""
    schedule: str = ""  # cron expression
    missed: str = "skip"  # what becomes of times that passed while control was away: skip | once | all
    inline: bool = False  # defined under `result`: senders cannot post it


class JobDefinition(msgspec.Struct, frozen=True, omit_defaults=True):
    """A job: the unit that is deployed. Ids are unique within their list; events also within the tenant."""

    id: str
    tenant: str
    queues: tuple[QueueDefinition, ...]
    runtimes: tuple[RuntimeDefinition, ...]
    events: tuple[EventDefinition, ...]  # inline follow-ups included
    name: str = ""


class ModulePin(msgspec.Struct, frozen=True, omit_defaults=True):
    """The module that a revision pinned for a runtime, and the ABI found in it."""

    digest: str
    abi: Abi


class Revision(msgspec.Struct, frozen=True, omit_defaults=True):
    """An immutable deploy of a job. `number` counts from 1 for each job."""

    definition: JobDefinition
    number: int
    created_ms: int
    modules: dict[str, ModulePin]  # by runtime id
    schemas: dict[str, str]  # digest by event id
    source: str = ""  # the YAML, as deployed


class RuntimeSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that an executor needs to know to run a guest; crosses the wire inside a `Delivery`."""

    name: str  # what argv[0] shows
    digest: str
    abi: Abi  # never AUTO
    function: str = "event"
    engine: Engine = Engine.WASMTIME
    limits: GuestLimits = GuestLimits()
    env: dict[str, str] = {}
    secrets: tuple[str, ...] = ()
    emits: tuple[str, ...] = ()
