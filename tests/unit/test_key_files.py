"""Key files are private, written once, and refused where they are not."""

import stat
from pathlib import Path

import pytest

from jobico.errors import Forbidden, InvalidInput, NotFound, Unauthenticated
from protocol.key_files import (
    generate_key_pair,
    load_key_pair,
    load_public_key,
    load_sealing_keys,
    local_peers,
    make_missing_key_pairs,
    make_sealing_key,
    replace_key_pair,
)


def test_a_key_pair_is_written_for_its_owner_alone_and_read_back(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    made = generate_key_pair(keys, "executor-0", "node")
    assert load_key_pair(keys, "executor-0") == made
    assert load_public_key(keys, "executor-0") == made.public
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys.iterdir()} == {0o600}


def test_the_secret_half_is_not_in_the_representation_of_a_key_pair(tmp_path: Path) -> None:
    made = generate_key_pair(tmp_path, "a", "operator")
    assert made.secret not in f"{made!r} {made}"


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    made = generate_key_pair(tmp_path, "a", "node")
    with pytest.raises(Forbidden, match="not overwritten"):
        generate_key_pair(tmp_path, "a", "node")
    assert load_key_pair(tmp_path, "a") == made


def test_a_private_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    generate_key_pair(tmp_path, "a", "node")
    (tmp_path / "a.key").chmod(0o640)
    with pytest.raises(Forbidden, match="can be read by others"):
        load_key_pair(tmp_path, "a")
    make_sealing_key(tmp_path)
    (tmp_path / "secrets.key").chmod(0o604)
    with pytest.raises(Forbidden):
        load_sealing_keys(tmp_path)


@pytest.mark.parametrize(
    "role", ["", "root", "tenant:acme", "tenant::admin", "tenant:acme:send", "revoked", "local"]
)
def test_what_is_no_role_gets_no_key(tmp_path: Path, role: str) -> None:
    with pytest.raises(Unauthenticated):
        generate_key_pair(tmp_path, "a", role)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["../a", "a/b", "", ".", "secrets", "a" * 65])
def test_what_cannot_name_a_key_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput):
        generate_key_pair(tmp_path, name, "node")


def test_a_missing_key_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="jobico peers"):
        load_key_pair(tmp_path, "a")
    with pytest.raises(NotFound, match="copy it from control"):
        load_public_key(tmp_path, "control")


@pytest.mark.parametrize("text", ["", "one", "too short", "a b c"])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, text: str) -> None:
    for suffix in ("key", "pub"):
        (tmp_path / f"a.{suffix}").write_text(text)
        (tmp_path / f"a.{suffix}").chmod(0o600)
    with pytest.raises(InvalidInput):
        load_key_pair(tmp_path, "a")
    with pytest.raises(InvalidInput):
        load_public_key(tmp_path, "a")


def test_the_peers_of_a_directory_are_its_public_keys_with_their_roles(tmp_path: Path) -> None:
    node = generate_key_pair(tmp_path, "control", "node")
    reader = generate_key_pair(tmp_path, "acme", "tenant:acme:read")
    assert local_peers(tmp_path) == {node.public: "node", reader.public: "tenant:acme:read"}


def test_only_the_key_pairs_that_are_missing_are_made(tmp_path: Path) -> None:
    kept = generate_key_pair(tmp_path, "control", "node")
    make_missing_key_pairs(tmp_path, {"control": "node", "operator": "operator"})
    made = load_key_pair(tmp_path, "operator")
    make_missing_key_pairs(tmp_path, {"control": "node", "operator": "operator"})
    assert local_peers(tmp_path) == {kept.public: "node", made.public: "operator"}


def test_a_replaced_key_pair_has_the_same_role_and_another_key(tmp_path: Path) -> None:
    before = generate_key_pair(tmp_path, "acme", "tenant:acme:read")
    former, after = replace_key_pair(tmp_path, "acme")
    assert former == before.public
    assert after.public != former
    assert load_key_pair(tmp_path, "acme") == after
    assert local_peers(tmp_path) == {after.public: "tenant:acme:read"}
    assert {path.name for path in tmp_path.iterdir()} == {"acme.key", "acme.pub"}
    with pytest.raises(NotFound):
        replace_key_pair(tmp_path, "other")


def test_the_sealing_key_is_made_once(tmp_path: Path) -> None:
    assert load_sealing_keys(tmp_path) == ()
    make_sealing_key(tmp_path)
    keys = load_sealing_keys(tmp_path)
    make_sealing_key(tmp_path)
    assert load_sealing_keys(tmp_path) == keys
    assert [len(key) for key in keys] == [32]


def test_the_sealing_keys_are_read_newest_first(tmp_path: Path) -> None:
    make_sealing_key(tmp_path)
    path = tmp_path / "secrets.key"
    (first,) = load_sealing_keys(tmp_path)
    path.write_text("A" * 43 + "=\n" + path.read_text())
    assert load_sealing_keys(tmp_path) == (bytes(32), first)
    path.write_text("short\n")
    with pytest.raises(InvalidInput):
        load_sealing_keys(tmp_path)
