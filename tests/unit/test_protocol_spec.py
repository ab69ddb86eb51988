"""`protocol/SPEC.md` and the code say the same: versions, types, fields, errors, bounds and roles."""

import re
from pathlib import Path

import msgspec
import pytest
from msgspec import inspect
from protocol_samples import sample
from protocol_spec import default_text, enumerations, structs, type_text

import protocol
from jobico import errors, limits
from protocol import codec
from protocol.authorisation import ALLOWED, Caller, Role, authorise
from protocol.key_files import KeyPair
from protocol.messages import MESSAGES, Request
from protocol.security import Keyring
from protocol.sockets import SOCKET_NAMES

TEXT = (Path(protocol.__file__).parent / "SPEC.md").read_text()
SECTIONS = {
    match[1].replace("`", ""): match[2]
    for match in re.finditer(r"(?ms)^#{2,4} (.*?)$\n(.*?)(?=^#{2,4} |\Z)", TEXT)
}
STRUCTS = structs()


def _rows(section: str) -> list[list[str]]:
    """The cells of the rows of the first table of a section."""
    lines = re.findall(r"(?m)^\| .*$", SECTIONS[section])[1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def _assert_fields(heading: str, kind: type) -> None:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    wanted = [[f"`{field.encode_name}`", type_text(field.type), default_text(field)] for field in info.fields]
    found = _rows(heading)
    assert [row[:3] for row in found] == wanted
    assert all(row[3] for row in found), "a field has no meaning"


def test_the_version_is_that_of_the_code() -> None:
    assert re.match(rf"# The protocol of Jobico, version {codec.PROTOCOL_VERSION}\n", TEXT)
    assert f"| `version` | int | The version of this protocol: {codec.PROTOCOL_VERSION}. |" in TEXT


def test_the_header_has_the_elements_of_the_code() -> None:
    names = re.findall(r"(?m)^\| `(\w+)` \| (?:int|text) \| ", SECTIONS["2 Frames and header"])
    assert tuple(names) == codec.Header.__struct_fields__


def test_every_message_is_described_and_nothing_else_is() -> None:
    section = TEXT[TEXT.index("## 7 Messages") : TEXT.index("## 8 Structures")]
    assert sorted(re.findall(r"(?m)^#### `(.*)`$", section)) == sorted(MESSAGES)


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_the_fields_of_a_message_are_those_of_the_code(name: str) -> None:
    kind = MESSAGES[name]
    _assert_fields(name, kind)
    answer = re.search(r"Answered\s+with\s+\[`(.*?)`\]", SECTIONS[name])
    assert (answer and answer[1]) == (kind.REPLY.TYPE if issubclass(kind, Request) else None)


def test_every_structure_is_described_and_nothing_else_is() -> None:
    section = TEXT[TEXT.index("## 8 Structures") : TEXT.index("## 9 Sequences")]
    assert sorted(re.findall(r"(?m)^#### (.*)$", section)) == sorted(kind.__name__ for kind in STRUCTS)


@pytest.mark.parametrize("kind", STRUCTS, ids=lambda kind: kind.__name__)
def test_the_fields_of_a_structure_are_those_of_the_code(kind: type[msgspec.Struct]) -> None:
    _assert_fields(kind.__name__, kind)


def test_the_values_of_enumerations_are_those_of_the_code() -> None:
    wanted = [[kind.__name__, ", ".join(f"`{one.value}`" for one in kind)] for kind in enumerations()]
    assert _rows("Enumerations") == wanted


def test_every_error_code_is_listed_with_whose_fault_it_is() -> None:
    found = {row[0].strip("`"): row[1] for row in _rows("6 Errors")}
    assert found.keys() == errors.ERROR_TYPES.keys()
    fault = {"caller": errors.CallerError, "guest": errors.GuestError, "platform": errors.PlatformError}
    for code, whose in found.items():
        assert issubclass(errors.ERROR_TYPES[code], fault.get(whose, errors.JobicoError))


def test_the_bounds_are_those_of_the_code() -> None:
    for row in _rows("4 Bounds"):
        assert getattr(limits, row[0].strip("`")) == int(row[1])


def test_every_socket_that_is_named_is_one_that_a_node_can_bind() -> None:
    assert {row[2].strip("`") for row in _rows("1 Sockets")[:9]} == set(SOCKET_NAMES)


def test_the_table_of_roles_is_that_of_the_code() -> None:
    found = {row[0].strip("`"): row[1:] for row in _rows("10.3 Who may ask for what")}
    assert found.keys() == {kind.TYPE for kind in ALLOWED}
    for name, cells in found.items():
        kind = MESSAGES[name]
        for role, cell in zip((Role.NODE, Role.OPERATOR, Role.ADMIN, Role.READ), cells, strict=True):
            assert (role in ALLOWED[kind]) == (cell != ""), (name, role)
            assert (cell == "o") <= (role in (Role.ADMIN, Role.READ))


def test_the_roles_are_those_that_a_key_can_have() -> None:
    roles = [row[0].strip("`").replace("NAME", "acme") for row in _rows("10.2 Between machines: tcp")[:5]]
    assert roles.pop() == "revoked"
    own = KeyPair("o" * 40, "s" * 40)
    keyring = Keyring(own, peers={str(number) * 40: role for number, role in enumerate(roles)})
    assert all(keyring.caller(str(number) * 40) is not None for number in range(4))
    keyring.replace({"0" * 40: "revoked"})
    assert keyring.caller("0" * 40) is None
    keyring.stop()


@pytest.mark.parametrize(("role", "column"), [(Role.ADMIN, 3), (Role.READ, 4)])
def test_a_tenant_is_told_that_there_is_no_other_exactly_where_the_table_says_so(
    role: Role, column: int
) -> None:
    for row in _rows("10.3 Who may ask for what"):
        message = sample(MESSAGES[row[0].strip("`")])
        try:
            answer = "y" if authorise(Caller(role, "acme"), message) is message else ""
        except errors.NotFound:
            answer = "o"
        except errors.Forbidden:
            answer = ""
        assert answer == row[column], row[0]
