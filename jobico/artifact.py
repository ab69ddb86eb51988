"""Modules and schemas as the repository describes them: plain immutable data."""

import msgspec

__all__ = ["ArtifactInfo", "ModuleReport"]


class ModuleReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `jobico check` says of a module."""

    valid: bool
    abi: str  # jobicolet | command | component | unknown
    imports: tuple[str, ...]  # "module.name: type"
    exports: tuple[str, ...]  # "name: type"
    size_bytes: int
    sha256: str
    problems: tuple[str, ...] = ()


class ArtifactInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """An artifact of a tenant; `kind` is wasm or json."""

    tenant: str
    kind: str
    name: str
    digest: str
    size_bytes: int
    uploaded_ms: int
    report: ModuleReport | None = None  # wasm only
