"""The repository as a deploy sees it: a `Library` over the protocol."""

from collections.abc import Mapping

from jobico.artifact import ArtifactInfo
from jobico.ids import new_instance_id
from jobico.limits import CALL_TIMEOUT_MS, COMPILE_CPU_MS_MAX
from nodes.peers import Peers
from protocol.client import Client
from protocol.messages import BindArtifacts, ResolveArtifact

__all__ = ["RemoteLibrary"]

# A module whose entry point is not the usual one is inspected again, and may wait for others to be compiled.
_RESOLVE_TIMEOUT_MS = CALL_TIMEOUT_MS + COMPILE_CPU_MS_MAX
_REACH_MS = 2_000


class RemoteLibrary:
    """Asks the repository for what one tenant has. It belongs to the thread of its client."""

    def __init__(self, client: Client, peers: Peers, tenant: str) -> None:
        self._client = client
        self._peers = peers
        self._tenant = tenant

    def module(self, ref: str, function: str) -> ArtifactInfo:
        """The module of a name or digest, with its report for that entry function."""
        return self._resolve("wasm", ref, function)

    def schema(self, ref: str) -> ArtifactInfo:
        """The schema of a name or digest."""
        return self._resolve("json", ref, "event")

    def bind(self, names: Mapping[str, str]) -> None:
        """Gives names to digests, all or none."""
        if not names:
            return
        peer = self._peers.of_role("repository", "rep")
        request = BindArtifacts(request_id=new_instance_id(), tenant=self._tenant, names=dict(names))
        self._client.call(peer.endpoint, request, server_key=peer.server_key)

    def _resolve(self, kind: str, ref: str, function: str) -> ArtifactInfo:
        peer = self._peers.of_role("repository", "rep")
        request = ResolveArtifact(tenant=self._tenant, kind=kind, ref=ref, function=function)
        reply = self._client.call(
            peer.endpoint,
            request,
            timeout_ms=_RESOLVE_TIMEOUT_MS,
            reach_ms=_REACH_MS,
            server_key=peer.server_key,
        )
        return reply.info
