"""Requests about jobs: deploy, roll back, undeploy, show.

A deploy asks the repository, which may take seconds, so deploys run in a thread of their own, one after
another; what they commit is checked again inside its transaction, because others commit meanwhile.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from jobico.clock import Clock
from jobico.definition import JobDefinition, Revision, parse_definition
from jobico.errors import AlreadyExists, Conflict, NotFound
from jobico.logs import Action, get_logger
from jobico.storage.catalog import Catalog, CatalogEdit, CatalogView
from nodes.control.changes import Changes
from nodes.control.deploy import Checked, check_deploy, same_revision
from nodes.control.library import RemoteLibrary
from nodes.control.tenants import create_tenant, need_tenant
from nodes.peers import Peers
from protocol.authorisation import Caller
from protocol.client import Client
from protocol.messages import (
    Deployed,
    DeployJob,
    Done,
    Job,
    Jobs,
    ListJobs,
    Message,
    RollbackJob,
    ShowJob,
    UndeployJob,
)
from protocol.server import RequestHandler
from protocol.sockets import Wire

__all__ = ["JobHandlers"]


class JobHandlers:
    """Answers DeployJob, RollbackJob, UndeployJob, ShowJob, ListJobs."""

    def __init__(self, catalog: Catalog, changes: Changes, clock: Clock, wire: Wire, peers: Peers) -> None:
        self._catalog = catalog
        self._changes = changes
        self._clock = clock
        self._peers = peers
        self._log = get_logger()
        self._wire = wire
        self._client: Client | None = None  # made by the thread that uses it
        self._deploys = ThreadPoolExecutor(1, thread_name_prefix="deploy")

    @property
    def handlers(self) -> Mapping[type[Message], RequestHandler]:
        """By the request that each answers."""
        return {
            DeployJob: self.deploy,
            RollbackJob: self.rollback,
            UndeployJob: self.undeploy,
            ShowJob: self.show,
            ListJobs: self.list,
        }

    def close(self) -> None:
        """Ends the thread of deploys, after the one under way."""

        def close_client() -> None:
            if self._client is not None:
                self._client.close()

        self._deploys.submit(close_client)
        self._deploys.shutdown(wait=True)

    def deploy(self, message: DeployJob, caller: Caller) -> "Future[Deployed]":
        """Checks a definition whole, then commits it as a revision."""
        definition = parse_definition(message.source)
        caller.check_tenant(definition.tenant)
        if not caller.trusted:
            with self._catalog.view() as view:
                need_tenant(view, definition.tenant)
        return self._deploys.submit(self._deploy, message, caller, definition)

    def rollback(self, message: RollbackJob, caller: Caller) -> "Future[Deployed]":
        """Makes an earlier revision current again."""

        def op(edit: CatalogEdit) -> Deployed:
            current = _need_job(edit, message.tenant, message.job)
            number = message.to or _before(edit.kept(message.tenant, message.job), current.number)
            earlier = edit.revision(message.tenant, message.job, number) if number else None
            if earlier is None:
                which = f"no revision {number}" if number else "no revision before the current one"
                raise NotFound(f"{message.job!r} has {which}: `jobico show job` lists what is kept.")
            if number == current.number:
                return Deployed(revision=current, previous=number, unchanged=True)
            _check_events(edit, earlier.definition)
            edit.set_current(message.tenant, message.job, number)
            detail = f"revision {number}, was {current.number}"
            self._changes.note(edit, message, caller, message.job, tenant=message.tenant, detail=detail)
            return Deployed(revision=earlier, previous=current.number)

        return self._changes.request(message, caller, op, Deployed)

    def undeploy(self, message: UndeployJob, caller: Caller) -> "Future[Done]":
        """Withdraws a job."""

        def op(edit: CatalogEdit) -> Done:
            _need_job(edit, message.tenant, message.job)
            edit.delete_job(message.tenant, message.job)
            self._changes.note(edit, message, caller, message.job, tenant=message.tenant)
            return Done()

        return self._changes.request(message, caller, op, Done, urgent=True)

    def show(self, message: ShowJob, _caller: Caller) -> Job:
        """Tells of one job."""
        with self._catalog.view() as view:
            current = _need_job(view, message.tenant, message.job)
            kept = tuple(view.kept(message.tenant, message.job))
            shown = view.revision(message.tenant, message.job, message.number) if message.number else current
            if shown is None:
                raise NotFound(f"{message.job!r} has no revision {message.number}; kept are {kept}.")
            return Job(revision=shown, current=current.number, kept=kept)

    def list(self, message: ListJobs, caller: Caller) -> Jobs:
        """Tells of the current revisions that the caller may see."""
        with self._catalog.view() as view:
            if message.tenant:
                need_tenant(view, message.tenant)
            revisions = view.current(message.tenant)
        return Jobs(items=tuple(one for one in revisions if caller.may_see(one.definition.tenant)))

    def _deploy(self, message: DeployJob, caller: Caller, definition: JobDefinition) -> Deployed:
        tenant, job = definition.tenant, definition.id
        with self._catalog.view() as view:
            taken = _taken(view, tenant, job)
            secrets = [secret.name for secret in view.secrets(tenant)]
        if self._client is None:
            self._client = Client(self._wire, self._wire.name)
        library = RemoteLibrary(self._client, self._peers, tenant)
        checked = check_deploy(definition, message.files, library, taken=taken, secrets=secrets)
        source = message.source.decode(errors="replace")
        wanted = _Wanted(definition, checked, source, message.update, self._clock.wall_ms())
        with self._catalog.view() as view:
            would = wanted.deployed(view.revision(tenant, job), max(view.kept(tenant, job), default=0) + 1)
        if message.dry_run:
            return would
        library.bind(checked.names)
        deployed = self._commit(message, caller, wanted)
        self._log.info(
            "deployed",
            action=Action.DEPLOYED,
            tenant=tenant,
            job=job,
            revision=deployed.revision.number,
            unchanged=deployed.unchanged,
        )
        return deployed

    def _commit(self, message: DeployJob, caller: Caller, wanted: "_Wanted") -> Deployed:
        tenant, job = wanted.definition.tenant, wanted.definition.id

        def op(edit: CatalogEdit) -> Deployed:
            _check_events(edit, wanted.definition)
            deployed = wanted.deployed(edit.revision(tenant, job), edit.next_number(tenant, job))
            if deployed.unchanged:
                return deployed
            if edit.tenant(tenant) is None:
                create_tenant(edit, tenant, wanted.now_ms)
            edit.put_revision(deployed.revision)
            detail = f"revision {deployed.revision.number}"
            self._changes.note(edit, message, caller, job, tenant=tenant, detail=detail)
            return deployed

        return self._changes.request(message, caller, op, Deployed).result()


class _Wanted(NamedTuple):
    """A deploy that has been checked."""

    definition: JobDefinition
    checked: Checked
    source: str
    update: bool
    now_ms: int

    def deployed(self, current: Revision | None, number: int) -> Deployed:
        """What it makes, or would make, current in the place of `current`."""
        previous = current.number if current else 0
        if current is not None and same_revision(current, self.definition, self.checked):
            return Deployed(
                revision=current, previous=previous, unchanged=True, warnings=self.checked.warnings
            )
        if current is not None and not self.update:
            raise AlreadyExists(
                f"{current.definition.tenant!r} has the job {current.definition.id!r} (revision {previous}): "
                "deploy with --update to replace it."
            )
        revision = Revision(
            definition=self.definition,
            number=number,
            created_ms=self.now_ms,
            modules=self.checked.modules,
            schemas=self.checked.schemas,
            source=self.source,
        )
        return Deployed(revision=revision, previous=previous, warnings=self.checked.warnings)


def _need_job(view: CatalogView, tenant: str, job: str) -> Revision:
    need_tenant(view, tenant)
    revision = view.revision(tenant, job)
    if revision is None:
        raise NotFound(f"{tenant!r} has no job {job!r}: `jobico show tenant {tenant}` lists its jobs.")
    return revision


def _taken(view: CatalogView, tenant: str, job: str) -> dict[str, str]:
    """Events of the tenant's other jobs, with the job of each."""
    return {
        event.id: revision.definition.id
        for revision in view.current(tenant)
        if revision.definition.id != job
        for event in revision.definition.events
    }


def _check_events(view: CatalogView, definition: JobDefinition) -> None:
    taken = _taken(view, definition.tenant, definition.id)
    for event in definition.events:
        if event.id in taken:
            raise Conflict(f"The event {event.id!r} belongs to the job {taken[event.id]!r} by now.")


def _before(kept: Sequence[int], current: int) -> int:
    return max((number for number in kept if number < current), default=0)
