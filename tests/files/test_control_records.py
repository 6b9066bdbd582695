"""Records for the shim, in a folder where a task may have left anything."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from fetchml.files.attempt_records import request_relay, write_limit

MARK = "0123456789abcdef" * 2


def request_entry(control: Path) -> None:
    request_relay(control, MARK, "0-0", "key\n")


def limit(control: Path) -> None:
    write_limit(control, 1000)


RECORDS = [
    ("enter", request_entry, f"{MARK}\n0-0\nkey\n", 0o600),
    ("limit", limit, "timeout_ms=1000\n", 0o644),
]
TRAPS: dict[str, Callable[[Path, Path], object]] = {
    "link": lambda place, victim: place.symlink_to(victim),
    "hard link": lambda place, victim: place.hardlink_to(victim),
    "FIFO": lambda place, _: os.mkfifo(place),
    "file": lambda place, _: place.write_text("forged" * 1000),
}


@pytest.mark.parametrize("suffix", ["", ".new"])
@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize(("name", "write", "text", "mode"), RECORDS)
def test_trap_in_place_of_a_record_is_replaced(
    tmp_path: Path,
    name: str,
    write: Callable[[Path], None],
    text: str,
    mode: int,
    trap: str,
    suffix: str,
) -> None:
    control, victim = tmp_path / "control", tmp_path / "victim"
    control.mkdir()
    victim.write_text("the server's own")
    TRAPS[trap](control / f"{name}{suffix}", victim)
    write(control)
    assert victim.read_text() == "the server's own"
    found = (control / name).lstat()
    assert (stat.S_IFMT(found.st_mode), stat.S_IMODE(found.st_mode)) == (stat.S_IFREG, mode)
    assert (control / name).read_text() == text
    assert [each.name for each in control.iterdir()] == [name]


@pytest.mark.parametrize(("name", "write", "text", "mode"), RECORDS)
def test_link_in_place_of_the_folder_is_not_followed(
    tmp_path: Path, name: str, write: Callable[[Path], None], text: str, mode: int
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o700)
    (tmp_path / "control").symlink_to(victim)
    with pytest.raises(OSError, match=r"directory|symbolic"):
        write(tmp_path / "control")
    assert (list(victim.iterdir()), stat.S_IMODE(victim.stat().st_mode)) == ([], 0o700)
