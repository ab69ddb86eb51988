"""Job definitions and their revisions, asked of control."""

import msgspec

from jobico.definition import Revision
from protocol.messages.base import Message, Request
from protocol.messages.common import Done

__all__ = [
    "DeployJob",
    "Deployed",
    "Job",
    "Jobs",
    "ListJobs",
    "RollbackJob",
    "ShowJob",
    "UndeployJob",
]


class Deployed(Message, frozen=True):
    """The revision that is (with a dry run: would be) current; `previous` is the one it replaces, or 0."""

    TYPE = "job.deployed"
    revision: Revision
    previous: int = 0
    unchanged: bool = False
    warnings: tuple[str, ...] = ()


class DeployJob(Request[Deployed], frozen=True):
    """Deploys a definition, or with `dry_run` only checks it; `files` has digests of files by name."""

    TYPE = "job.deploy"
    request_id: str
    source: bytes  # YAML
    files: dict[str, str] = msgspec.field(default_factory=dict)
    update: bool = False
    dry_run: bool = False


class RollbackJob(Request[Deployed], frozen=True):
    """Makes an earlier revision current again; `to` 0 is the one before the current."""

    TYPE = "job.rollback"
    request_id: str
    tenant: str
    job: str
    to: int = 0


class UndeployJob(Request[Done], frozen=True):
    """Withdraws a job: its events are unknown from now on; queued ones end as dead letters `no-route`."""

    TYPE = "job.undeploy"
    request_id: str
    tenant: str
    job: str


class Job(Message, frozen=True):
    """A job."""

    TYPE = "job"
    revision: Revision
    current: int
    kept: tuple[int, ...]


class ShowJob(Request[Job], frozen=True):
    """Asks for a job: a revision (0 is the current), and the numbers of all that are kept."""

    TYPE = "job.show"
    tenant: str
    job: str
    number: int = 0


class Jobs(Message, frozen=True):
    """Current revisions."""

    TYPE = "jobs"
    items: tuple[Revision, ...]


class ListJobs(Request[Jobs], frozen=True):
    """Asks for the current revisions of a tenant, or with an empty name of all that the caller may see."""

    TYPE = "job.list"
    tenant: str = ""
