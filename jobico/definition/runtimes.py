"""`runtimes:` of a job definition: programs, what they may use, and what they are given."""

import re
from typing import Final

from jobico import limits
from jobico.definition.document import Mapping, Node, Problems, Scalar
from jobico.definition.fields import Fields, shorten
from jobico.definition.types import Abi, Engine, GuestLimits, RuntimeDefinition
from jobico.errors import InvalidInput
from jobico.ids import check_name

__all__ = ["check_variable", "read_runtime"]

_KEYS: Final = (
    "id", "name", "moduleref", "mainfuncname", "type", "platform", "abi", "engine", "limits", "env",
    "secrets", "emits",
)  # fmt: skip
_LIMITS_KEYS: Final = ("time", "memory", "fuel", "result", "logs", "loglines")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_RESERVED: Final = "JOBICO_"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_FUNCTION = re.compile(r"[!-~]{1,128}")
_FUEL_MAX: Final = (1 << 63) - 1
_PAGE_BYTES: Final = 64 * limits.KIB  # the unit of a guest's memory


def read_runtime(problems: Problems, node: Node, path: str) -> RuntimeDefinition:
    """One item of `runtimes:`."""
    fields = Fields(problems, node, path, _KEYS)
    fields.constant("type", "wasm", "0")
    fields.constant("platform", "0")  # written by the original, which has one platform
    env = _read_env(problems, fields)
    secrets = fields.texts("secrets", limits.SECRETS_MAX, check_variable)
    for name in secrets:
        if name in env:
            fields.problem("secrets", f"{shorten(name)} is in env too")
    return RuntimeDefinition(
        id=fields.name("id", "runtime"),
        name=fields.text("name"),
        module=_read_module(fields),
        function=_read_function(fields),
        abi=fields.choice("abi", Abi.AUTO),
        engine=fields.choice("engine", Engine.WASMTIME),
        limits=_read_limits(problems, fields),
        env=env,
        secrets=secrets,
        emits=fields.texts("emits", limits.EVENTS_MAX, lambda text: check_name("event", text)),
    )


def check_variable(text: str) -> None:
    """Refuses what cannot name an environment variable or a secret of a guest.

    Raises:
        InvalidInput: it has other characters than letters, digits and `_`, or belongs to Jobico.
    """
    if not _VARIABLE.fullmatch(text):
        raise InvalidInput(
            f"{shorten(text)!r} cannot name a variable: use letters, digits and _, no digit first"
        )
    if text.upper().startswith(_RESERVED):
        raise InvalidInput(f"{shorten(text)!r} is not free: names with {_RESERVED} are the platform's")


def _read_module(fields: Fields) -> str:
    text = fields.text("moduleref", required=True)
    return text if _DIGEST.fullmatch(text) else fields.name("moduleref", "file", required=False)


def _read_function(fields: Fields) -> str:
    text = fields.text("mainfuncname") or "event"
    if not _FUNCTION.fullmatch(text):
        fields.problem("mainfuncname", "must be up to 128 ASCII characters, no space")
    return text


def _read_limits(problems: Problems, runtime: Fields) -> GuestLimits:
    fields = Fields(problems, runtime.node("limits"), runtime.at("limits"), _LIMITS_KEYS)
    return GuestLimits(
        time_ms=fields.duration_ms("time", limits.GUEST_TIME_MS, 1, limits.GUEST_TIME_MS_MAX),
        memory_bytes=fields.size_bytes(
            "memory", limits.GUEST_MEMORY_BYTES, _PAGE_BYTES, limits.GUEST_MEMORY_BYTES_MAX
        ),
        fuel=fields.integer("fuel", 0, 0, _FUEL_MAX),
        result_bytes=fields.size_bytes("result", limits.GUEST_RESULT_BYTES, 0, limits.GUEST_RESULT_BYTES_MAX),
        logs_bytes=fields.size_bytes("logs", limits.GUEST_LOGS_BYTES, 0, limits.GUEST_LOGS_BYTES_MAX),
        log_lines=fields.integer("loglines", limits.GUEST_LOG_LINES_MAX, 0, limits.GUEST_LOG_LINES_MAX),
    )


def _read_env(problems: Problems, runtime: Fields) -> dict[str, str]:
    """The variables: names with regard to case, values as they are written."""
    node, path = runtime.node("env"), runtime.at("env")
    if node is None:
        return {}
    if not isinstance(node, Mapping):
        problems.add(node.line, path, "must be a mapping of names to values")
        return {}
    if len(node.pairs) > limits.ENV_ENTRIES_MAX:
        problems.add(
            node.line, path, f"has {len(node.pairs)} entries; at most {limits.ENV_ENTRIES_MAX} are taken"
        )
        return {}
    env: dict[str, str] = {}
    for key, value in node.pairs:
        problem = _variable_problem(key.text, value, env)
        if problem:
            problems.add(key.line, f"{path}.{shorten(key.text)}", problem)
        elif isinstance(value, Scalar):
            env[key.text] = "" if value.null else value.text
    size = sum(len(name.encode()) + len(value.encode()) + 2 for name, value in env.items())
    if size > limits.ENV_BYTES_MAX:
        problems.add(node.line, path, f"takes {size} bytes; at most {limits.ENV_BYTES_MAX} are taken")
    return env


def _variable_problem(name: str, value: Node, env: dict[str, str]) -> str:
    try:
        check_variable(name)
    except InvalidInput as error:
        return error.message
    if name in env:
        return "the variable is there twice"
    if not isinstance(value, Scalar):
        return "must be a single value"
    return "the value has a NUL, which no environment can hold" if "\0" in value.text else ""
