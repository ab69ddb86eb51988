"""Modules and schemas."""

from jobico.artifact import ArtifactInfo
from protocol.messages.base import Message, Request
from protocol.messages.common import Done

__all__ = [
    "Artifact",
    "ArtifactContent",
    "Artifacts",
    "BindArtifacts",
    "CheckArtifact",
    "GetArtifact",
    "ListArtifacts",
    "PutArtifact",
    "ResolveArtifact",
]


class Artifact(Message, frozen=True):
    """What is known of an artifact."""

    TYPE = "artifact"
    info: ArtifactInfo


class CheckArtifact(Request[Artifact], frozen=True):
    """Asks what is wrong with a file, storing nothing; fails as invalid-module or invalid-schema."""

    TYPE = "artifact.check"
    kind: str
    content: bytes
    function: str = "event"


class PutArtifact(Request[Artifact], frozen=True):
    """Stores a file of a tenant under its digest and, where `name` is given, under that name too."""

    TYPE = "artifact.put"
    request_id: str
    tenant: str
    kind: str
    content: bytes
    name: str = ""


class BindArtifacts(Request[Done], frozen=True):
    """Gives names to stored digests, all or none: part of a deploy."""

    TYPE = "artifact.bind"
    request_id: str
    tenant: str
    names: dict[str, str]  # "kind/name" -> digest


class ResolveArtifact(Request[Artifact], frozen=True):
    """Asks what a reference (a name or a digest) of a tenant means, reported for that `function`."""

    TYPE = "artifact.resolve"
    tenant: str
    kind: str
    ref: str
    function: str = "event"


class ArtifactContent(Message, frozen=True):
    """The bytes."""

    TYPE = "artifact.content"
    content: bytes


class GetArtifact(Request[ArtifactContent], frozen=True):
    """Asks for the bytes under a digest. A tenant gets only what it has uploaded; nodes get all."""

    TYPE = "artifact.get"
    digest: str
    tenant: str = ""


class Artifacts(Message, frozen=True):
    """Artifacts."""

    TYPE = "artifacts"
    items: tuple[ArtifactInfo, ...]


class ListArtifacts(Request[Artifacts], frozen=True):
    """Asks for the artifacts of a tenant; with an empty name, all that the caller may see."""

    TYPE = "artifact.list"
    tenant: str = ""
    kind: str = ""
