"""`jobico peers`: the CURVE keys of nodes, operators and tenants' programs, for platforms over tcp."""

import hashlib
import shutil
from pathlib import Path
from typing import Annotated

import typer

from cli import render
from cli.options import Home, Json, Yes
from cli.session import Session, connect, new_request_id
from jobico.errors import InvalidInput, NodeUnavailable, NotFound
from jobico.settings import Settings

__all__ = ["app"]

app = typer.Typer(add_completion=False)

_CONTROL = "control"
_REVOKED = "revoked"
_ID_CHARS = 12

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Of the node or whoever holds the key.", show_default=False)
]


@app.command()
def make(
    name: Name,
    role: Annotated[
        str,
        typer.Option("--role", metavar="ROLE", help="node, operator, tenant:NAME:admin or tenant:NAME:read."),
    ] = "node",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Write the files there, with all that another machine needs."
        ),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a key pair, and let it in.

    A node on another machine needs the files of DIR in the directory `keys` of its data directory.

    Example: jobico peers make executor-7 --out carry/
    """
    from protocol.key_files import generate_key_pair

    settings = Settings.from_environ(home=home)
    directory = out or settings.keys_dir
    pair = generate_key_pair(directory, name, role)
    if out is not None:
        _add_what_others_need(settings, out, role)
    with connect(home) as session:
        let_in = _let_in(session, pair.public, role)
    report = {
        "name": name,
        "id": _id(pair.public),
        "key": pair.public,
        "role": role,
        "directory": str(directory),
        "let_in": let_in,
    }
    after = "" if let_in else "It is let in when control starts." if out is None else _BY_HAND
    pairs = [
        ("Id", _id(pair.public)),
        ("Key", pair.public),
        ("Role", role),
        ("Files", f"{directory}/{name}.key, {name}.pub"),
    ]
    render.report(report, lambda: render.facts([*pairs, ("", after)] if after else pairs))


_BY_HAND = "Control is away: put the .pub file into its directory of keys, and it is let in when it starts."


@app.command("list")
def list_peers(home: Home = None, as_json: Json = False) -> None:
    """List the keys that are let in, and those that no longer are.

    Example: jobico peers list
    """
    names = _names(Settings.from_environ(home=home))
    with connect(home) as session:
        items = _peers(session)
    public = [
        {"name": names.get(key, ""), "id": _id(key), "key": key, "role": role} for key, role in items.items()
    ]
    public.sort(key=lambda one: (one["role"] == _REVOKED, one["role"], one["name"]))
    rows = [(one["name"], one["role"], one["id"], one["key"]) for one in public]
    empty = "No key is let in: this platform has no tcp sockets."
    render.report(public, lambda: render.table(("NAME", "ROLE", "ID", "KEY"), rows, empty=empty))


@app.command()
def revoke(
    peer: Annotated[
        str, typer.Argument(metavar="NAME|ID", help="A name or id of `peers list`.", show_default=False)
    ],
    yes: Yes = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Let a key in no more, for good; what it has open is cut off at once.

    Example: jobico peers revoke executor-7
    """
    from protocol.messages import RevokePeer

    names = _names(Settings.from_environ(home=home))
    with connect(home) as session:
        items = _peers(session)
        key = next((one for one in items if peer in (one, _id(one), names.get(one))), "")
        if not key:
            raise NotFound(f"No key {peer!r} is let in: see `jobico peers list`.")
        if names.get(key) == _CONTROL:
            raise InvalidInput("Without control's key no node knows control any more: it is not revoked.")
        if not yes and not render.confirm(f"Cut off {names.get(key) or _id(key)} ({items[key]}) for good?"):
            raise typer.Abort
        session.control(RevokePeer(request_id=new_request_id(), key=key))
    render.report({"revoked": key}, lambda: render.styled(f"Revoked {names.get(key) or _id(key)}."))


@app.command()
def rotate(name: Name, home: Home = None, as_json: Json = False) -> None:
    """Make a new key pair in the place of one; the former stays let in until it is revoked.

    Example: jobico peers rotate executor-7
    """
    from protocol.key_files import load_public_key, local_peers, replace_key_pair

    settings = Settings.from_environ(home=home)
    if name == _CONTROL:
        raise InvalidInput(
            "Control's key is what every node knows it by: stop all nodes, remove keys/control.key and "
            "keys/control.pub, start control, and copy the new control.pub to every machine."
        )
    role = local_peers(settings.keys_dir)[load_public_key(settings.keys_dir, name)]
    with connect(home) as session:  # with the keys that are there before: this may be the operator's own
        former, pair = replace_key_pair(settings.keys_dir, name)
        let_in = _let_in(session, pair.public, role)
    report = {
        "name": name,
        "id": _id(pair.public),
        "key": pair.public,
        "role": role,
        "former": _id(former),
        "let_in": let_in,
    }
    steps = f"Start {name} again, then: jobico peers revoke {_id(former)}"
    pairs = [("Id", _id(pair.public)), ("Key", pair.public), ("Role", role), ("Next", steps)]
    render.report(report, lambda: render.facts(pairs))


def _id(key: str) -> str:
    """A key as people type it: Z85 has characters that shells and options take for their own."""
    return hashlib.sha256(key.encode()).hexdigest()[:_ID_CHARS]


def _let_in(session: Session, key: str, role: str) -> bool:
    """True if control has taken the key; it takes those of its own directory when it starts."""
    from protocol.messages import AddPeer

    try:
        session.control(AddPeer(request_id=new_request_id(), key=key, role=role))
    except NodeUnavailable:
        return False
    return True


def _peers(session: Session) -> dict[str, str]:
    from protocol.messages import ListPeers

    return session.control(ListPeers()).items


def _names(settings: Settings) -> dict[str, str]:
    """Names by key, of the files that are here."""
    from protocol.key_files import load_public_key

    found = sorted(path.stem for path in settings.keys_dir.glob("*.pub"))
    return {load_public_key(settings.keys_dir, name): name for name in found}


def _add_what_others_need(settings: Settings, out: Path, role: str) -> None:
    """Copies control's public key and, for a node, the keys that secrets are sealed with."""
    wanted = [f"{_CONTROL}.pub", *(["secrets.key"] if role == "node" else [])]
    for name in wanted:
        source = settings.keys_dir / name
        if source.exists():
            shutil.copy2(source, out / name)
            (out / name).chmod(0o600)
