"""Claims about `nodes.control.deploy`: what a deploy is refused for, and what it pins."""

from collections.abc import Mapping

import msgspec
import pytest

from jobico.artifact import ArtifactInfo, ModuleReport
from jobico.definition import (
    Abi,
    Engine,
    EventDefinition,
    JobDefinition,
    ModulePin,
    QueueDefinition,
    Revision,
    RuntimeDefinition,
    SchemaReference,
    Verification,
    VerifyScheme,
)
from jobico.errors import InvalidDefinition, InvalidSchema, NotFound
from nodes.control.deploy import check_deploy, same_revision

MODULE = "sha256:" + "a" * 64
SCHEMA = "sha256:" + "b" * 64


def report(
    abi: str = "jobicolet", *, valid: bool = True, exports: tuple[str, ...] = ("event: func",)
) -> ModuleReport:
    problems = () if valid else ("it imports env.fork, which Jobico does not offer",)
    return ModuleReport(
        valid=valid, abi=abi, imports=(), exports=exports, size_bytes=9, sha256="a" * 64, problems=problems
    )


class Shelf:
    """A library of what a test puts there, by name or digest."""

    def __init__(self, modules: Mapping[str, ModuleReport], schemas: Mapping[str, str] | None = None) -> None:
        self.modules = modules
        self.schemas = schemas if schemas is not None else {SCHEMA: SCHEMA, "customer.json": SCHEMA}
        self.functions: list[str] = []

    def module(self, ref: str, function: str) -> ArtifactInfo:
        self.functions.append(function)
        if ref not in self.modules:
            raise NotFound("There is no such module.")
        return ArtifactInfo(
            tenant="acme",
            kind="wasm",
            name=ref,
            digest=MODULE,
            size_bytes=9,
            uploaded_ms=0,
            report=self.modules[ref],
        )

    def schema(self, ref: str) -> ArtifactInfo:
        if ref not in self.schemas:
            raise NotFound("There is no such schema.")
        if self.schemas[ref] == "bad":
            raise InvalidSchema("It is no JSON Schema.")
        return ArtifactInfo(
            tenant="acme", kind="json", name=ref, digest=self.schemas[ref], size_bytes=9, uploaded_ms=0
        )


def definition(runtime: RuntimeDefinition | None = None, **event: object) -> JobDefinition:
    fields = {
        "id": "created",
        "queue": "default",
        "runtime": "greet",
        "schema": SchemaReference(ref="customer.json"),
    }
    return JobDefinition(
        id="customers",
        tenant="acme",
        queues=(QueueDefinition(id="default"),),
        runtimes=(runtime or RuntimeDefinition(id="greet", module="greet.wasm"),),
        events=(EventDefinition(**{**fields, **event}),),  # type: ignore[arg-type]
    )


def problems_of(
    job: JobDefinition, shelf: Shelf, *, taken: Mapping[str, str] | None = None
) -> list[tuple[str, str]]:
    with pytest.raises(InvalidDefinition) as raised:
        check_deploy(job, {}, shelf, taken=taken or {})
    return [(problem["path"], problem["message"]) for problem in raised.value.detail["problems"]]


def test_a_good_definition_pins_digests_and_the_abi_that_was_found() -> None:
    checked = check_deploy(definition(), {}, Shelf({"greet.wasm": report()}), taken={})
    assert checked.modules == {"greet": ModulePin(digest=MODULE, abi=Abi.JOBICOLET)}
    assert checked.schemas == {"created": SCHEMA}
    assert checked.names == {}
    assert checked.warnings == ()


def test_uploaded_files_win_over_names_and_are_bound() -> None:
    shelf = Shelf({MODULE: report(), "greet.wasm": report(valid=False)})
    checked = check_deploy(definition(), {"greet.wasm": MODULE, "customer.json": SCHEMA}, shelf, taken={})
    assert checked.names == {"wasm/greet.wasm": MODULE, "json/customer.json": SCHEMA}


def test_the_module_is_inspected_for_its_main_function() -> None:
    shelf = Shelf({"greet.wasm": report(exports=("main: func", "event: func"))})
    check_deploy(
        definition(RuntimeDefinition(id="greet", module="greet.wasm", function="main")), {}, shelf, taken={}
    )
    assert shelf.functions == ["main"]


def test_missing_module_and_schema_are_both_reported() -> None:
    found = problems_of(definition(), Shelf({}, {}))
    assert [path for path, _ in found] == ["runtimes[0].moduleref", "events[0].schema.schemaref"]
    assert "greet.wasm" in found[0][1]


def test_a_module_that_cannot_run_here_says_why() -> None:
    [(path, message)] = problems_of(definition(), Shelf({"greet.wasm": report(valid=False)}))
    assert path == "runtimes[0].moduleref"
    assert "env.fork" in message


def test_another_abi_than_asked_for_is_refused() -> None:
    runtime = RuntimeDefinition(id="greet", module="greet.wasm", abi=Abi.COMPONENT)
    [(path, message)] = problems_of(definition(runtime), Shelf({"greet.wasm": report("command")}))
    assert path == "runtimes[0].abi"
    assert "command" in message


def test_a_main_function_that_is_not_exported_is_refused() -> None:
    runtime = RuntimeDefinition(id="greet", module="greet.wasm", function="handle")
    [(path, message)] = problems_of(definition(runtime), Shelf({"greet.wasm": report()}))
    assert path == "runtimes[0].mainfuncname"
    assert "'handle'" in message


def test_wasmer_takes_the_command_abi_alone() -> None:
    runtime = RuntimeDefinition(id="greet", module="greet.wasm", engine=Engine.WASMER)
    [(path, _)] = problems_of(definition(runtime), Shelf({"greet.wasm": report()}))
    assert path == "runtimes[0].engine"
    assert check_deploy(definition(runtime), {}, Shelf({"greet.wasm": report("command")}), taken={}).modules


def test_an_event_of_another_job_of_the_tenant_is_refused() -> None:
    [(path, message)] = problems_of(
        definition(), Shelf({"greet.wasm": report()}), taken={"created": "orders"}
    )
    assert path == "events[0].id"
    assert "'orders'" in message


def test_an_invalid_schema_is_refused() -> None:
    shelf = Shelf({"greet.wasm": report()}, {"customer.json": "bad"})
    [(path, message)] = problems_of(definition(), shelf)
    assert path == "events[0].schema.schemaref"
    assert "no JSON Schema" in message


def test_what_is_allowed_but_odd_is_warned_about() -> None:
    job = definition(
        RuntimeDefinition(id="greet", module="greet.wasm", secrets=("API_KEY",)),
        schema=None,
        verify=Verification(scheme=VerifyScheme.GITHUB, secret="HOOK"),
    )
    shelf = Shelf({"greet.wasm": report()})
    warnings = check_deploy(job, {"x.json": SCHEMA}, shelf, taken={}, secrets=("HOOK",)).warnings
    assert warnings == (
        "The event 'created' has no schema: any JSON is taken.",
        "The secret 'API_KEY' is not set.",
        "The file 'x.json' is not used.",
    )


def test_a_revision_is_the_same_only_with_the_same_definition_and_files() -> None:
    job, checked = definition(), check_deploy(definition(), {}, Shelf({"greet.wasm": report()}), taken={})
    current = Revision(
        definition=job, number=1, created_ms=0, modules=checked.modules, schemas=checked.schemas
    )
    assert same_revision(current, job, checked)
    assert not same_revision(current, msgspec.structs.replace(job, name="other"), checked)
    other = msgspec.structs.replace(checked, schemas={"created": MODULE})
    assert not same_revision(current, job, other)
