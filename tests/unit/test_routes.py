"""Routes find what the current revision says of an event, and change without touching what is in use."""

import msgspec

from jobico.definition import (
    Abi,
    EventDefinition,
    JobDefinition,
    ModulePin,
    QueueDefinition,
    Revision,
    RuntimeDefinition,
    RuntimeSpec,
)
from jobico.routes import Routes


def _revision(tenant: str, job: str, events: list[str], number: int = 1, queue: str = "q") -> Revision:
    definition = JobDefinition(
        id=job,
        tenant=tenant,
        queues=(QueueDefinition(id=queue),),
        runtimes=(
            RuntimeDefinition(
                id="r", module="m.wasm", function="run", env={"A": "b"}, secrets=("S",), emits=("e",)
            ),
            RuntimeDefinition(id="unused", module="other.wasm"),
        ),
        events=tuple(EventDefinition(id=event, queue=queue, runtime="r") for event in events),
    )
    return Revision(
        definition=definition,
        number=number,
        created_ms=0,
        modules={"r": ModulePin(digest=f"sha256:{number}", abi=Abi.COMMAND)},
        schemas={events[0]: "sha256:schema"} if events else {},
    )


def test_a_route_has_all_that_accepting_and_delivering_need() -> None:
    route = Routes.build([_revision("acme", "job", ["first", "second"])]).find("acme", "first")
    assert route is not None
    assert (route.tenant, route.job, route.event.id, route.queue.id) == ("acme", "job", "first", "q")
    assert (route.revision.number, route.schema_digest) == (1, "sha256:schema")
    assert msgspec.msgpack.decode(route.runtime_spec, type=RuntimeSpec) == RuntimeSpec(
        name="m.wasm",
        digest="sha256:1",
        abi=Abi.COMMAND,
        function="run",
        env={"A": "b"},
        secrets=("S",),
        emits=("e",),
    )


def test_an_event_without_a_schema_has_none() -> None:
    route = Routes.build([_revision("acme", "job", ["first", "second"])]).find("acme", "second")
    assert route is not None
    assert route.schema_digest is None


def test_what_is_not_there_and_what_is_another_tenants_are_not_found() -> None:
    routes = Routes.build([_revision("acme", "job", ["first"]), _revision("other", "job", ["theirs"])])
    assert routes.find("acme", "theirs") is None
    assert routes.find("nobody", "first") is None
    assert set(routes.of_tenant("acme")) == {"first"}
    assert not routes.of_tenant("nobody")


def test_a_change_makes_new_routes_and_leaves_the_old_ones_as_they_were() -> None:
    old = Routes.build([_revision("acme", "job", ["first", "gone"]), _revision("other", "job", ["theirs"])])
    new = old.with_job(("acme", "job"), _revision("acme", "job", ["first", "fresh"], number=2))
    before, after = old.find("acme", "first"), new.find("acme", "first")
    assert before is not None
    assert after is not None
    assert (before.revision.number, after.revision.number) == (1, 2)
    assert new.find("acme", "gone") is None
    assert old.find("acme", "gone") is not None
    assert new.find("acme", "fresh") is not None
    assert new.find("other", "theirs") is old.find("other", "theirs")


def test_an_undeploy_withdraws_all_of_a_job_and_nothing_of_another() -> None:
    routes = Routes.build([_revision("acme", "a", ["one"]), _revision("acme", "b", ["two"])])
    routes = routes.with_job(("acme", "a"), None)
    assert set(routes.of_tenant("acme")) == {"two"}
    routes = routes.with_job(("acme", "b"), None).with_job(("acme", "never-there"), None)
    assert not routes.of_tenant("acme")


def test_an_event_of_two_jobs_goes_to_the_job_that_sorts_first_in_whatever_order_they_came() -> None:
    a, b = _revision("acme", "a", ["same"]), _revision("acme", "b", ["same"])
    for routes in (
        Routes.build([a, b]),
        Routes.build([b, a]),
        Routes.build([]).with_job(("acme", "b"), b).with_job(("acme", "a"), a),
    ):
        route = routes.find("acme", "same")
        assert route is not None
        assert route.job == "a"
        heir = routes.with_job(("acme", "a"), None).find("acme", "same")
        assert heir is not None
        assert heir.job == "b"
