"""Both spellings of the original work, additions are read with their units, problems have line and path."""

from collections.abc import Callable

import msgspec
import pytest

from jobico import limits
from jobico.definition import (
    Abi,
    Engine,
    EventDefinition,
    GuestLimits,
    JobDefinition,
    Order,
    QueueDefinition,
    RuntimeDefinition,
    SchemaReference,
    Verification,
    VerifyScheme,
    parse_definition,
)
from jobico.errors import InvalidDefinition
from jobico.retry import Backoff, RetryPolicy

ORIGINAL = """
name: Customer Event Processing Definitions
id: customer-proc-jobs
tenant: my-tenant-1
queues:
  - id: queue-default
    name: Default to all events
jobs:
  - event:
      name: New customer
      id: customer-registration
      datatype: 0
      schema:
        id: customer-registration-schema
        name: Customer registration schema
        schemaref: customer-registration-schema.json
      supplierqueue: queue-default
      runtime: wasm-runtime-customer-ev
runtimes:
  - id: wasm-runtime-customer-ev
    name:  Wasm runtime for Customer events
    moduleref: wasm-runtime-customer-ev.wasm
    mainfuncname: event
    type: 0
"""

ORIGINAL_PACKAGE = """
package:
  ID: job_id_1
  name: job_name_1
  tenant: tenant_1
  queues:
  - ID: queue_id_1
    name: queue_name_1
  - ID: queue_id_1_ok
    name: queue_name_1_ok
  - ID: queue_id_1_error
    name: queue_name_1_error
  jobs:
  - event:
      ID: event_id_1
      name: event_name_1
      dataType: 0
      schema:
        ID: ""
        name: null
        schemaRef: sch1
      supplierQueue: queue_id_1
      runtime: runtime_id_1
    result:
      ok:
        ID: event_id_1_ok
        name: event_name_1_ok
        dataType: 0
        schema: null
        supplierQueue: queue_id_1_ok
        runtime: runtime_id_1
      error:
        ID: event_id_1_error
        name: event_name_1_error
        dataType: 0
        schema: null
        supplierQueue: queue_id_1_error
        runtime: runtime_id_1
  runtimes:
  - ID: runtime_id_1
    name: runtime_name_1
    moduleRef: run1
    mainFuncName: event
    type: 0
    platform: 0
"""

FULL = """
name: Customer events
id: customer-jobs
tenant: acme
queues:
  - id: default
    name: Default queue
    order: key
    key: /customerId
    concurrency: 4
runtimes:
  - id: greet
    name: Greets a customer
    moduleref: greet.wasm
    mainfuncname: handle
    type: wasm
    abi: jobicolet
    engine: wasmer
    limits: {time: 1.5s, memory: 32MiB, fuel: 1000000000, result: 1KiB, logs: 2KiB, loglines: 10}
    env: {GREETING: hello, COUNT: 3, Yes: no, EMPTY: }
    secrets: [API_KEY, OTHER]
    emits: [customer-greeted]
  - id: notify
    moduleref: sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
jobs:
  - event:
      id: customer-registration
      name: New customer
      datatype: json
      schema: {id: customer, name: Customer, schemaref: customer.json}
      supplierqueue: default
      runtime: greet
      verify: {scheme: hmac, secret: WEBHOOK_SECRET, header: X-Signature}
      retry: {attempts: 5, backoff: fixed, initial: 1s, max: 5m, never: [422, 18446744073709551615]}
      schedule: "*/5  6 * *  MON"
      missed: once
    result:
      ok: {id: customer-greeted, runtime: notify, schema: greeted.json}
      error: customer-greeted
"""

MINIMAL = """
id: j
tenant: t
runtimes: [{id: r, moduleref: m.wasm}]
jobs: [{event: {id: e}}]
"""


def _job(**parts: str) -> str:
    """A definition with some parts replaced, in YAML of flow style, one a line from line 3 on."""
    texts = {
        "queues": "[{id: q}]",
        "runtimes": "[{id: r, moduleref: m.wasm}]",
        "jobs": "[{event: {id: e}}]",
        **parts,
    }
    return "id: j\ntenant: t\n" + "".join(f"{key}: {text}\n" for key, text in texts.items())


def _event(text: str) -> str:
    return _job(jobs=f"[{{event: {{id: e, {text}}}}}]")


def _runtime(text: str) -> str:
    return _job(runtimes=f"[{{id: r, moduleref: m.wasm, {text}}}]")


def _problems(source: bytes | str) -> list[tuple[int, str, str]]:
    with pytest.raises(InvalidDefinition) as caught:
        parse_definition(source)
    problems = caught.value.detail["problems"]
    assert problems[0]["message"] in caught.value.message
    return [(problem["line"], problem["path"], problem["message"]) for problem in problems]


def _refused(source: bytes | str, path: str, message: str) -> None:
    found = _problems(source)
    assert any(where == path and message in text for _, where, text in found), found


def test_the_originals_definition_works_unchanged() -> None:
    assert parse_definition(ORIGINAL) == JobDefinition(
        id="customer-proc-jobs",
        tenant="my-tenant-1",
        name="Customer Event Processing Definitions",
        queues=(QueueDefinition(id="queue-default", name="Default to all events"),),
        runtimes=(
            RuntimeDefinition(
                id="wasm-runtime-customer-ev",
                name="Wasm runtime for Customer events",
                module="wasm-runtime-customer-ev.wasm",
            ),
        ),
        events=(
            EventDefinition(
                id="customer-registration",
                name="New customer",
                queue="queue-default",
                runtime="wasm-runtime-customer-ev",
                schema=SchemaReference(
                    ref="customer-registration-schema.json",
                    id="customer-registration-schema",
                    name="Customer registration schema",
                ),
            ),
        ),
    )


def test_the_originals_package_works_unchanged() -> None:
    job = parse_definition(ORIGINAL_PACKAGE)
    assert (job.id, job.tenant, len(job.queues)) == ("job_id_1", "tenant_1", 3)
    event, ok, error = job.events
    assert event.schema == SchemaReference(ref="sch1")
    assert (event.ok, event.error, event.inline) == ("event_id_1_ok", "event_id_1_error", False)
    assert (ok.id, ok.queue, ok.schema, ok.inline) == ("event_id_1_ok", "queue_id_1_ok", None, True)
    assert (error.id, error.queue, error.inline) == ("event_id_1_error", "queue_id_1_error", True)


def test_every_key_is_read_with_its_unit() -> None:
    job = parse_definition(FULL)
    assert job.queues == (
        QueueDefinition(
            id="default", name="Default queue", order=Order.KEY, key="/customerId", concurrency=4
        ),
    )
    assert job.runtimes[0] == RuntimeDefinition(
        id="greet",
        name="Greets a customer",
        module="greet.wasm",
        function="handle",
        abi=Abi.JOBICOLET,
        engine=Engine.WASMER,
        limits=GuestLimits(
            time_ms=1_500,
            memory_bytes=32 << 20,
            fuel=1_000_000_000,
            result_bytes=1_024,
            logs_bytes=2_048,
            log_lines=10,
        ),
        env={"GREETING": "hello", "COUNT": "3", "Yes": "no", "EMPTY": ""},
        secrets=("API_KEY", "OTHER"),
        emits=("customer-greeted",),
    )
    assert job.runtimes[1].module == "sha256:" + "a" * 64
    assert job.events == (
        EventDefinition(
            id="customer-registration",
            name="New customer",
            queue="default",
            runtime="greet",
            schema=SchemaReference(ref="customer.json", id="customer", name="Customer"),
            verify=Verification(scheme=VerifyScheme.HMAC, secret="WEBHOOK_SECRET", header="X-Signature"),
            retry=RetryPolicy(
                attempts=5,
                backoff=Backoff.FIXED,
                initial_ms=1_000,
                max_ms=300_000,
                never=(422, 18446744073709551615),
            ),
            ok="customer-greeted",
            error="customer-greeted",
            schedule="*/5 6 * * MON",
            missed="once",
        ),
        EventDefinition(
            id="customer-greeted",
            queue="default",
            runtime="notify",
            schema=SchemaReference(ref="greeted.json"),
            inline=True,
        ),
    )


def test_what_is_left_out_has_its_default() -> None:
    job = parse_definition(MINIMAL)
    assert job.queues == (QueueDefinition(id="default", name="Default queue"),)
    assert job.runtimes == (RuntimeDefinition(id="r", module="m.wasm"),)
    assert job.events == (EventDefinition(id="e", queue="default", runtime="r"),)


def test_a_definition_survives_the_wire() -> None:
    job = parse_definition(FULL)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(job), type=JobDefinition) == job


def test_bytes_text_and_a_byte_order_mark_read_alike() -> None:
    expected = parse_definition(MINIMAL)
    assert parse_definition(MINIMAL.encode()) == expected
    assert parse_definition(b"\xef\xbb\xbf" + MINIMAL.encode()) == expected


def test_keys_are_matched_without_regard_to_case_and_ids_are_not() -> None:
    assert parse_definition(MINIMAL.replace("moduleref", "ModuleRef").replace("jobs", "JOBS")).id == "j"
    _refused(_event("runtime: R"), "jobs[0].event.runtime", "'R' is not defined")


@pytest.mark.parametrize("text", ["no", "1", "1.10", "0x1F", "2026-01-01", "null-and-void"])
def test_names_are_what_is_written_not_what_yaml_makes_of_it(text: str) -> None:
    assert parse_definition(_job(jobs=f"[{{event: {{id: {text}}}}}]")).events[0].id == text


def test_a_follow_up_may_have_follow_ups_and_a_chain_may_be_a_circle() -> None:
    chain = "{id: b, result: {ok: {id: c, result: {ok: a}}}}"
    job = parse_definition(_job(jobs=f"[{{event: {{id: a}}, result: {{ok: {chain}}}}}]"))
    assert [(event.id, event.ok, event.inline) for event in job.events] == [
        ("a", "b", False),
        ("b", "c", True),
        ("c", "a", True),
    ]


def test_a_result_may_stand_in_its_event_but_not_twice() -> None:
    assert parse_definition(_event("result: {ok: e}")).events[0].ok == "e"
    _refused(
        _job(jobs="[{event: {id: e, result: {ok: e}}, result: {ok: e}}]"), "jobs[0].event.result", "twice"
    )


@pytest.mark.parametrize("scheme", ["none", "bearer", "NONE"])
def test_a_scheme_may_stand_alone(scheme: str) -> None:
    assert parse_definition(_event(f"verify: {scheme}")).events[0].verify.scheme == scheme.lower()


def test_an_unknown_key_is_named_with_its_line_and_what_may_have_been_meant() -> None:
    assert _problems(ORIGINAL.replace("supplierqueue", "supplierqeue")) == [
        (17, "jobs[0].event.supplierqeue", "unknown key; did you mean supplierqueue?")
    ]


def test_all_problems_are_named_in_the_order_of_their_lines() -> None:
    found = _problems(
        "id: a b\ntenant: t\nqueues:\n  - id: q\n    order: keyy\n  - id: q\nruntimes: [{id: r}]\n"
        "jobs:\n  - event:\n      id: e\n      runtime: x\n  - result: {}\n"
    )
    assert [(line, path) for line, path, _ in found] == [
        (1, "id"),
        (5, "queues[0].order"),
        (6, "queues[1].id"),
        (7, "runtimes[0].moduleref"),
        (11, "jobs[0].event.runtime"),
        (12, "jobs[1].event"),
    ]


def test_problems_past_their_bound_are_counted_only() -> None:
    keys = "".join(f"k{i}: 1\n" for i in range(100))
    with pytest.raises(InvalidDefinition, match=r"\(99 more\)") as caught:
        parse_definition(MINIMAL + keys)
    assert len(caught.value.detail["problems"]) == limits.DEFINITION_PROBLEMS_MAX


@pytest.mark.parametrize(
    ("source", "path", "message"),
    [
        (_job(queues="{}"), "queues", "must be a list"),
        (_job(queues="[3]"), "queues[0]", "must be a mapping"),
        (_job(queues="[{name: x}]"), "queues[0].id", "is missing"),
        (_job(queues="[{id: ''}]"), "queues[0].id", "is empty"),
        (_job(queues="[{id: [1]}]"), "queues[0].id", "must be a single value"),
        (_job(queues="[{id: q, order: fifo}]"), "queues[0].order", "none, strict, key"),
        (_job(queues="[{id: q, order: key}]"), "queues[0].key", "needs a JSON Pointer"),
        (_job(queues="[{id: q, order: key, key: id}]"), "queues[0].key", "is not a JSON Pointer"),
        (_job(queues="[{id: q, key: /id}]"), "queues[0].key", "is for order: key"),
        (
            _job(queues="[{id: q, order: strict, concurrency: 2}]"),
            "queues[0].concurrency",
            "one event at a time",
        ),
        (_job(queues="[{id: q, concurrency: -1}]"), "queues[0].concurrency", "from 0 to 1000"),
        (_job(queues="[{id: q, concurrency: many}]"), "queues[0].concurrency", "not a whole number"),
        (_job(queues="[{id: q}, {id: p}]"), "jobs[0].event.supplierqueue", "is missing: it may be q, p"),
        (_event("supplierqueue: qq"), "jobs[0].event.supplierqueue", "did you mean q?"),
        (_job(runtimes="[]"), "runtimes", "is empty"),
        ("id: j\ntenant: t\njobs: [{event: {id: e}}]", "runtimes", "is missing"),
        (_job(runtimes="[{id: r}]"), "runtimes[0].moduleref", "is missing"),
        (_job(runtimes="[{id: r, moduleref: 'sha256:abc'}]"), "runtimes[0].moduleref", "cannot name a file"),
        (_job(runtimes="[{id: r, moduleref: ../m.wasm}]"), "runtimes[0].moduleref", "cannot name a file"),
        (
            _job(runtimes="[{id: r, moduleref: m}, {id: r, moduleref: m}]"),
            "runtimes[1].id",
            "'r' is there twice",
        ),
        (_runtime("type: 1"), "runtimes[0].type", "wasm or 0"),
        (_runtime("mainfuncname: a b"), "runtimes[0].mainfuncname", "no space"),
        (_runtime("abi: go"), "runtimes[0].abi", "auto, jobicolet, command, component"),
        (_runtime("engine: v8"), "runtimes[0].engine", "wasmtime, wasmer"),
        (_runtime("limits: {cpu: 1}"), "runtimes[0].limits.cpu", "unknown key"),
        (_runtime("limits: {time: 5}"), "runtimes[0].limits.time", "is not a duration"),
        (_runtime("limits: {time: -5s}"), "runtimes[0].limits.time", "is not a duration"),
        (_runtime("limits: {memory: lots}"), "runtimes[0].limits.memory", "is not a size"),
        (_runtime("env: [A]"), "runtimes[0].env", "must be a mapping"),
        (_runtime("env: {1A: x}"), "runtimes[0].env.1A", "cannot name a variable"),
        (_runtime("env: {A=B: x}"), "runtimes[0].env.A=B", "cannot name a variable"),
        (_runtime("env: {JOBICO_TENANT: x}"), "runtimes[0].env.JOBICO_TENANT", "the platform's"),
        (_runtime("env: {A: 1, A: 2}"), "runtimes[0].env.A", "twice"),
        (_runtime("env: {A: [1]}"), "runtimes[0].env.A", "single value"),
        (_runtime('env: {A: "a\\0b"}'), "runtimes[0].env.A", "NUL"),
        (_runtime("secrets: [A, A]"), "runtimes[0].secrets[1]", "'A' is there twice"),
        (_runtime("secrets: [a-b]"), "runtimes[0].secrets[0]", "cannot name a variable"),
        (_runtime("secrets: [A], env: {A: b}"), "runtimes[0].secrets", "in env too"),
        (_runtime("emits: [a b]"), "runtimes[0].emits[0]", "cannot name a event"),
        (_runtime("emits: [ee]"), "runtimes[0].emits", "'ee' is not an event of this job; did you mean e?"),
        (_job(jobs="[]"), "jobs", "is empty"),
        (_job(jobs="[{result: {ok: e}}]"), "jobs[0].event", "is missing"),
        (_job(jobs="[{event: {id: e}}, {event: {id: e}}]"), "jobs[1].event.id", "'e' is there twice"),
        (
            _job(jobs="[{event: {id: e}, result: {ok: {id: e}}}]"),
            "jobs[0].result.ok.id",
            "'e' is there twice",
        ),
        (_job(jobs="[{event: {id: e}, result: {ok: ee}}]"), "jobs[0].result.ok", "did you mean e?"),
        (_job(jobs="[{event: {id: e}, result: {fine: e}}]"), "jobs[0].result.fine", "unknown key"),
        (
            _job(jobs="[{event: {id: e}, result: {ok: {id: f, verify: none}}}]"),
            "jobs[0].result.ok.verify",
            "unknown",
        ),
        (_event("datatype: xml"), "jobs[0].event.datatype", "json or 0"),
        (_event("schema: {id: x}"), "jobs[0].event.schema.schemaref", "is missing"),
        (_event("schema: [x]"), "jobs[0].event.schema", "must be a mapping"),
        (_event("verify: github"), "jobs[0].event.verify", "github needs a secret"),
        (_event("verify: {scheme: stripe}"), "jobs[0].event.verify.secret", "is missing"),
        (_event("verify: {scheme: none, secret: S}"), "jobs[0].event.verify.secret", "not used"),
        (_event("verify: {scheme: hmac, secret: S}"), "jobs[0].event.verify.header", "needs the name"),
        (
            _event("verify: {scheme: hmac, secret: S, header: 'a: b'}"),
            "jobs[0].event.verify.header",
            "needs the name",
        ),
        (
            _event("verify: {scheme: github, secret: S, header: X}"),
            "jobs[0].event.verify.header",
            "hmac alone",
        ),
        (_event("verify: {scheme: github, secret: a b}"), "jobs[0].event.verify.secret", "cannot name"),
        (_event("retry: {attempts: 2.5}"), "jobs[0].event.retry.attempts", "not a whole number"),
        (_event("retry: {initial: 10s, max: 5s}"), "jobs[0].event.retry.max", "over the longest"),
        (_event("retry: {never: [0]}"), "jobs[0].event.retry.never[0]", "code of failure"),
        (_event("retry: {never: [18446744073709551616]}"), "jobs[0].event.retry.never[0]", "code of failure"),
        (_event("retry: {backoff: linear}"), "jobs[0].event.retry.backoff", "exponential, fixed"),
        (_event("schedule: '* * * *'"), "jobs[0].event.schedule", "is not a cron expression"),
        (_event("schedule: '* * * * * *'"), "jobs[0].event.schedule", "is not a cron expression"),
        (_event("schedule: '61 * * * *'"), "jobs[0].event.schedule", "Bad minute"),
        (_event("schedule: '0 0 30 2 *'"), "jobs[0].event.schedule", "is not a cron expression"),
        (_event("missed: once"), "jobs[0].event.missed", "without schedule"),
        (_event("schedule: '@daily'"), "jobs[0].event.schedule", "is not a cron expression"),
        (_event("schedule: '* * * * *', missed: never"), "jobs[0].event.missed", "skip, once, all"),
        ("jobs: 1\n" + MINIMAL, "jobs", "twice, first in line 1"),
        ("ID: x\n" + MINIMAL, "id", "twice, first in line 1"),
        ("package: {}\nid: x", "id", "unknown key"),
        ("package: {}", "package.tenant", "is missing"),
        ("tenant: ''\n", "tenant", "is empty"),
        ("[]", "", "must be a mapping"),
        ("just text", "", "must be a mapping"),
    ],
)
def test_what_is_wrong_is_named_with_its_path(source: str, path: str, message: str) -> None:
    _refused(source, path, message)


def test_a_first_wait_over_the_usual_longest_raises_it() -> None:
    policy = parse_definition(_event("retry: {initial: 10m}")).events[0].retry
    assert (policy.initial_ms, policy.max_ms) == (600_000, 600_000)


@pytest.mark.parametrize(
    ("make", "path", "least", "most"),
    [
        (_runtime, "limits: {time: #}", "1ms", f"{limits.GUEST_TIME_MS_MAX}ms"),
        (_runtime, "limits: {memory: #}", "65536", str(limits.GUEST_MEMORY_BYTES_MAX)),
        (_runtime, "limits: {fuel: #}", "0", str((1 << 63) - 1)),
        (_runtime, "limits: {result: #}", "0", str(limits.GUEST_RESULT_BYTES_MAX)),
        (_runtime, "limits: {logs: #}", "0", str(limits.GUEST_LOGS_BYTES_MAX)),
        (_runtime, "limits: {loglines: #}", "0", str(limits.GUEST_LOG_LINES_MAX)),
        (_event, "retry: {attempts: #}", "1", str(limits.ATTEMPTS_MAX)),
        (_event, "retry: {initial: #, max: 24h}", "1ms", f"{limits.BACKOFF_MAX_MS_MAX}ms"),
    ],
)
def test_a_number_at_its_bounds_is_taken_and_one_past_it_is_not(
    make: Callable[[str], str], path: str, least: str, most: str
) -> None:
    digits = most.removesuffix("ms")
    past = str(int(digits) + 1) + most.removeprefix(digits)
    before = {"1ms": "0ms", "1": "0", "65536": "65535"}.get(least, "-1")
    for inside in (least, most):
        parse_definition(make(path.replace("#", inside)))
    for outside in (before, past):
        _problems(make(path.replace("#", outside)))


def _many(count: int, text: str) -> str:
    return "[" + ", ".join(text.replace("#", str(i)) for i in range(count)) + "]"


BOUNDS: list[tuple[str, int, Callable[[int], str]]] = [
    (
        "queues",
        limits.QUEUES_MAX,
        lambda n: _job(queues=_many(n, "{id: q#}"), jobs="[{event: {id: e, supplierqueue: q0}}]"),
    ),
    (
        "runtimes",
        limits.RUNTIMES_MAX,
        lambda n: _job(runtimes=_many(n, "{id: r#, moduleref: m}"), jobs="[{event: {id: e, runtime: r0}}]"),
    ),
    ("jobs", limits.EVENTS_MAX, lambda n: _job(jobs=_many(n, "{event: {id: e#}}"))),
    (
        "jobs",
        limits.EVENTS_MAX,
        lambda n: _job(
            jobs=f"[{{event: {{id: e}}, result: {{ok: {{id: f}}}}}}, {_many(n - 2, '{event: {id: e#}}')[1:]}"
        ),
    ),
    ("runtimes[0].secrets", limits.SECRETS_MAX, lambda n: _runtime(f"secrets: {_many(n, 'S#')}")),
    ("runtimes[0].env", limits.ENV_ENTRIES_MAX, lambda n: _runtime(f"env: {{{_many(n, 'V#: x')[1:-1]}}}")),
    ("runtimes[0].env", limits.ENV_BYTES_MAX, lambda n: _runtime(f"env: {{V: {'x' * (n - 3)}}}")),
]


@pytest.mark.parametrize(("path", "most", "make"), BOUNDS)
def test_as_many_as_the_bound_are_taken_and_one_more_is_not(
    path: str, most: int, make: Callable[[int], str]
) -> None:
    parse_definition(make(most))
    _refused(make(most + 1), path, "at most")


def test_a_document_at_its_bound_is_taken_and_one_more_byte_is_not() -> None:
    padded = MINIMAL + "#" * (limits.DEFINITION_BYTES_MAX - len(MINIMAL))
    parse_definition(padded)
    _refused(padded + "#", "", "over 256 KiB")


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        (b"", 1, "empty"),
        ("# nothing", 1, "empty"),
        (MINIMAL.encode() + b"name: \xff", 6, "not UTF-8"),
        (MINIMAL.encode("utf-16"), 1, "not UTF-8"),
        ("a: [1\n", 2, "not YAML"),
        ("id: j\n\tname: x", 2, "not YAML"),
        ("a: b: c", 1, "not YAML"),
        ("a: \x00", 1, "not YAML"),
        ("a: \ud800", 1, "not YAML"),
        ("id: j\nname: &a [x]\ntenant: *a", 3, "the alias *a"),
        ("<<: *a", 1, "the alias *a"),
        ("id: !!str j", 1, "the tag"),
        ("id: j\nname: !!python/object/apply:os.system [id]", 2, "the tag"),
        ("id: j\n---\nid: k", 2, "second document"),
        ("? [a]\n: b", 1, "a key is not text"),
        ("a: " + "[" * limits.DEFINITION_DEPTH_MAX, 1, "nested over 16"),
        ("[" * 100_000, 1, "nest"),
        ("[" + "1," * limits.DEFINITION_NODES_MAX + "]", 1, "over 10000 values"),
    ],
)
def test_a_text_that_is_no_document_or_more_than_one_is_refused(
    source: bytes | str, line: int, message: str
) -> None:
    found = _problems(source)
    assert len(found) == 1
    assert found[0][:2] == (line, "")
    assert message in found[0][2]


def test_a_bomb_of_aliases_is_refused_at_its_first() -> None:
    levels = "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]\n" for i in range(1, 10))
    assert "alias" in _problems("l0: &l0 [lol]\n" + levels)[0][2]
