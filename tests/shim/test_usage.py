"""The shim's records of the use of its processes, for a server on another machine."""

import sys
from pathlib import Path

import pytest

from tests.shim.attempt import Attempt, run

BUSY = """\
import os, shutil, sys, time
from pathlib import Path
record = Path(os.environ["RUN"], "usage")
block = bytearray(64 << 20)
while time.process_time() < 0.5:
    pass
begun = time.time() * 1000
def seen():
    lines = record.read_text().splitlines() if record.exists() else []
    return int(lines[0].partition("=")[2]) if lines else 0
while seen() < begun:
    time.sleep(0.02)
shutil.copy(record, "last")
"""


def argv(attempt: Attempt, *command: str, cwd: Path) -> list[str]:
    made = attempt.argv(*command, cwd=cwd)
    return [*made[:1], "--usage-ms", "100", *made[1:]]


def test_use_of_all_descendants_is_recorded(
    attempt: Attempt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUN", str(attempt.folder))
    (tmp_path / "busy.py").write_text(BUSY)
    # Two shells: it is a grandchild.
    inner = f"sh -c '{sys.executable} busy.py; true'; true"
    assert run(argv(attempt, "sh", "-c", inner, cwd=tmp_path)) == 0
    lines = (tmp_path / "last").read_text().splitlines()
    found = {key: int(value) for key, _, value in (line.partition("=") for line in lines)}
    assert found["cpu_ms"] >= 400
    assert found["memory_kb"] >= 64 << 10
    end = attempt.end()
    assert int(end["started_ms"]) < found["at_ms"] <= int(end["at_ms"]) + 1000
    assert set(found) == {"at_ms", "cpu_ms", "memory_kb", "read_kb", "write_kb"}


def test_no_record_unless_it_is_asked_for(attempt: Attempt, tmp_path: Path) -> None:
    assert run(attempt.argv("sleep", "0.3", cwd=tmp_path)) == 0
    assert not (attempt.folder / "usage").exists()


def test_link_in_the_way_is_not_followed(attempt: Attempt, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    (attempt.folder / "usage.tmp").symlink_to(theirs)
    assert run(argv(attempt, "sleep", "0.4", cwd=tmp_path)) == 0
    assert not theirs.exists()
