"""`jobico upload`: puts a program or a schema into the repository under a name."""

from pathlib import Path
from typing import Annotated

import typer

from cli import render
from cli.files import read_file
from cli.options import Home, Json, Tenant
from cli.session import connect, new_request_id
from jobico import limits
from jobico.units import format_size

__all__ = ["UPLOAD_TIMEOUT_MS", "app"]

UPLOAD_TIMEOUT_MS = limits.COMPILE_CPU_MS_MAX * 2.0
"""How long the repository may take: it compiles a program before it takes it."""

app = typer.Typer(add_completion=False)

Name = Annotated[str, typer.Argument(metavar="NAME", help="What definitions call it.", show_default=False)]
File = Annotated[Path, typer.Argument(metavar="FILE", help="What to upload.", show_default=False)]


@app.command()
def wasm(tenant: Tenant, name: Name, file: File, home: Home = None, as_json: Json = False) -> None:
    """Upload a program, a WebAssembly module or component.

    Example: jobico upload wasm acme greet.wasm target/wasm32-wasip1/release/greet.wasm
    """
    _upload(tenant, "wasm", name, file, home)


@app.command()
def json(tenant: Tenant, name: Name, file: File, home: Home = None, as_json: Json = False) -> None:
    """Upload a JSON Schema.

    Example: jobico upload json acme customer.json schemas/customer.json
    """
    _upload(tenant, "json", name, file, home)


def _upload(tenant: str, kind: str, name: str, file: Path, home: str | None) -> None:
    from protocol.messages import PutArtifact

    content = read_file(file, limits.COMPONENT_BYTES_MAX if kind == "wasm" else limits.SCHEMA_BYTES_MAX)
    with connect(home) as session, session.suggesting(tenant=tenant):
        request = PutArtifact(
            request_id=new_request_id(), tenant=tenant, kind=kind, content=content, name=name
        )
        with render.progress() as bars:
            bars.add_task(f"Uploading {format_size(len(content))}", total=None)
            info = session.ask("repository", request, UPLOAD_TIMEOUT_MS).info
    abi = f", ABI {info.report.abi}" if info.report else ""
    render.report(
        info, lambda: render.styled(f"{tenant}/{name}: {format_size(info.size_bytes)}{abi}, {info.digest}")
    )
