"""Where a node's log lines go."""

import json
import subprocess
import sys
from pathlib import Path

_SCRIPT = """
import sys
from pathlib import Path
from jobico import limits
limits.LOG_FILE_BYTES_MAX = 2_000
from jobico.logs import Action, configure_logging, get_logger
configure_logging("executor-0", "info", Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    get_logger().info("attempt", action=Action.ATTEMPT, number=number, text="\\udc80")
print("printed", flush=True)
raise SystemExit("on its way down")
"""


def _run(path: Path, lines: int) -> None:
    subprocess.run([sys.executable, "-c", _SCRIPT, str(path), str(lines)], check=False, timeout=30)


def test_a_log_file_has_records_and_all_else_that_the_process_prints(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "executor-0.log"
    _run(path, 1)
    record, printed, dying = path.read_text().splitlines()
    assert json.loads(record)["node"] == "executor-0"
    assert (printed, dying) == ("printed", "on its way down")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_full_log_file_is_set_aside_and_no_line_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "executor-0.log"
    _run(path, 40)
    files = sorted(tmp_path.glob("executor-0.log*"))
    assert len(files) > 2
    assert all(file.stat().st_size <= 2_100 for file in files)
    text = "".join(file.read_text() for file in files)
    assert {f'"number": {number},' in text for number in range(40)} == {True}
