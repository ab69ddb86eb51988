"""Where an event goes: tenant and event name to the current revision's runtime, queue and schema.

Pure and immutable: a change makes a new table that shares all but the changed tenant's part with the old one,
so a request that is under way keeps the table it started with.
"""

from collections.abc import Iterable, Mapping

import msgspec

from jobico.definition import EventDefinition, JobDefinition, QueueDefinition, Revision, RuntimeSpec

__all__ = ["Route", "Routes"]


class Route(msgspec.Struct, frozen=True):
    """All that accepting and delivering an event needs to know of its job."""

    tenant: str
    job: str
    event: EventDefinition
    revision: Revision
    queue: QueueDefinition
    runtime_spec: bytes  # msgpack of a RuntimeSpec
    schema_digest: str | None


class Routes:
    """Routes of all tenants. Where two jobs of one define an event, the job whose id sorts first has it."""

    __slots__ = ("_jobs", "_table")

    def __init__(
        self, jobs: Mapping[str, Mapping[str, Revision]], table: Mapping[str, Mapping[str, Route]]
    ) -> None:
        self._jobs = jobs
        self._table = table

    @classmethod
    def build(cls, revisions: Iterable[Revision]) -> "Routes":
        """The routes of these current revisions; of two revisions of one job the last given counts."""
        jobs: dict[str, dict[str, Revision]] = {}
        for revision in revisions:
            jobs.setdefault(revision.definition.tenant, {})[revision.definition.id] = revision
        return cls(jobs, {tenant: _tenant_routes(owned) for tenant, owned in jobs.items()})

    def find(self, tenant: str, event: str) -> Route | None:
        """The route of an event, or None where the tenant has none of that name."""
        routes = self._table.get(tenant)
        return None if routes is None else routes.get(event)

    def of_tenant(self, tenant: str) -> Mapping[str, Route]:
        """All routes of a tenant by event."""
        return self._table.get(tenant, {})

    def with_job(self, key: tuple[str, str], revision: Revision | None) -> "Routes":
        """The routes after a deploy (or with None, an undeploy) of the job `key`, which is (tenant, job)."""
        tenant, job = key
        owned = dict(self._jobs.get(tenant, {}))
        if revision is None:
            owned.pop(job, None)
        else:
            owned[job] = revision
        jobs, table = dict(self._jobs), dict(self._table)
        if owned:
            jobs[tenant], table[tenant] = owned, _tenant_routes(owned)
        else:
            jobs.pop(tenant, None)
            table.pop(tenant, None)
        return Routes(jobs, table)


def _tenant_routes(jobs: Mapping[str, Revision]) -> dict[str, Route]:
    routes: dict[str, Route] = {}
    for job in sorted(jobs):
        for route in _job_routes(jobs[job]):
            routes.setdefault(route.event.id, route)
    return routes


def _job_routes(revision: Revision) -> Iterable[Route]:
    definition = revision.definition
    queues = {queue.id: queue for queue in definition.queues}
    specs = _runtime_specs(definition, revision)
    for event in definition.events:
        yield Route(
            tenant=definition.tenant,
            job=definition.id,
            event=event,
            revision=revision,
            queue=queues[event.queue],
            runtime_spec=specs[event.runtime],
            schema_digest=revision.schemas.get(event.id),
        )


def _runtime_specs(definition: JobDefinition, revision: Revision) -> dict[str, bytes]:
    encoder = msgspec.msgpack.Encoder()
    specs = {}
    for runtime in definition.runtimes:
        pin = revision.modules.get(runtime.id)
        if pin is None:  # no event uses it
            continue
        spec = RuntimeSpec(
            name=runtime.module,
            digest=pin.digest,
            abi=pin.abi,
            function=runtime.function,
            engine=runtime.engine,
            limits=runtime.limits,
            env=runtime.env,
            secrets=runtime.secrets,
            emits=runtime.emits,
        )
        specs[runtime.id] = encoder.encode(spec)
    return specs
