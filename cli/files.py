"""Files that a command is given: read whole, bounded, with errors that say which file. It prints nothing."""

import sys
from pathlib import Path

from jobico.errors import Internal, InvalidInput, TooLarge
from jobico.units import format_size

__all__ = ["examples_dir", "read_file", "read_input"]


def read_file(path: Path, bytes_max: int) -> bytes:
    """The content of a file.

    Raises:
        InvalidInput: it cannot be read.
        TooLarge: it has more than `bytes_max` bytes.
    """
    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(content) > bytes_max:
        raise TooLarge(f"{path} is larger than {format_size(bytes_max)}, the most that is taken.")
    return content


def read_input(name: str, bytes_max: int) -> bytes:
    """The content of a file, or with `-` of stdin."""
    if name != "-":
        return read_file(Path(name), bytes_max)
    content = sys.stdin.buffer.read(bytes_max + 1)
    if len(content) > bytes_max:
        raise TooLarge(f"stdin has more than {format_size(bytes_max)}, the most that is taken.")
    return content


def examples_dir() -> Path:
    """The examples that come with Jobico: beside this file in a wheel, in `examples` of a checkout."""
    here = Path(__file__).resolve().parent
    for folder in (here / "examples", here.parent / "examples"):
        if folder.is_dir():
            return folder
    raise Internal(f"The examples are missing from this installation ({here}): install Jobico again.")
