"""When the command's output was written, beside its log."""

import platform
import struct
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests.shim import attempt as module
from tests.shim.attempt import Attempt, run

SOURCES = sorted((Path(__file__).parents[2] / "shim").glob("*.c"))


def times(attempt: Attempt) -> list[tuple[int, int]]:
    """Time and offset of each record."""
    return list(struct.iter_unpack("<qq", (attempt.folder / "times").read_bytes()))


def check(attempt: Attempt) -> list[tuple[int, int]]:
    """The records, which ascend and lie between start and end of the command and of its log."""
    found = times(attempt)
    end = attempt.end()
    assert found == sorted(found)
    assert len({offset for _, offset in found}) == len(found)
    for at, offset in found:
        assert int(end["started_ms"]) <= at <= int(end["at_ms"]) + 1000
        assert 0 <= offset < int(end["log_bytes"])
    return found


def test_first_output_has_its_time(attempt: Attempt) -> None:
    assert run(attempt.argv("sh", "-c", "sleep 0.2; echo said")) == 0
    [(at, offset)] = check(attempt)
    assert offset == 0
    assert at >= int(attempt.end()["started_ms"]) + 200


def test_silent_command_has_no_times(attempt: Attempt) -> None:
    assert run(attempt.argv("true")) == 0
    assert not (attempt.folder / "times").exists()


def test_times_are_a_second_apart(attempt: Attempt) -> None:
    script = "for n in 1 2 3 4 5 6 7 8 9 10; do echo $n; sleep 0.25; done"
    assert run(attempt.argv("sh", "-c", script)) == 0
    found = check(attempt)
    assert len(found) >= 2
    apart = [later[0] - earlier[0] for earlier, later in pairwise(found)]
    assert min(apart) >= 1000


def test_link_in_place_of_the_times_is_not_followed(attempt: Attempt, tmp_path: Path) -> None:
    (attempt.folder / "times").symlink_to(tmp_path / "elsewhere")
    assert run(attempt.argv("echo", "kept")) == 0
    assert not (tmp_path / "elsewhere").exists()
    assert attempt.log() == "kept\n"


@pytest.fixture(scope="module")
def small_shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shim that keeps eight times, a millisecond apart."""
    built = tmp_path_factory.mktemp("shim") / "shim"
    target = f"{platform.machine()}-linux-musl"
    flags = ["-std=gnu11", "-Os", "-static", "-DMOST_TIMES=8", "-DTIMES_APART_MS=1"]
    subprocess.run(
        [
            sys.executable,
            "-m",
            "ziglang",
            "cc",
            "-target",
            target,
            *flags,
            *map(str, SOURCES),
            "-o",
            built,
        ],
        check=True,
    )
    return built


@pytest.fixture
def with_small_shim(small_shim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHIM", str(small_shim))


@pytest.mark.slow
@pytest.mark.usefixtures("with_small_shim")
def test_number_of_times_is_bounded(attempt: Attempt) -> None:
    """Of many, every second one is dropped again and again; the first one stays."""
    # Each line waits until the shim has stored the one before.
    script = """n=100; while [ $n -lt 160 ]; do
        echo $n; n=$((n + 1))
        until [ $(wc -c < log.00000000000000000000) -eq $(((n - 100) * 4)) ]; do :; done
    done"""
    assert run(attempt.argv("sh", "-c", script, cwd=attempt.folder)) == 0
    found = check(attempt)
    assert 4 <= len(found) <= 8
    assert found[0][1] == 0
    assert all(later[0] - earlier[0] >= 2 for earlier, later in pairwise(found))
