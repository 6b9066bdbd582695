"""The command's output: kept to the byte, bounded, and never in the command's way."""

import sys
from pathlib import Path

import pytest

from tests.shim.attempt import Attempt, in_mount_namespace, run


def test_of_much_output_the_tail_is_kept_in_exact_segments(attempt: Attempt) -> None:
    lines = "".join(f"step {step}\n" for step in range(450_000)).encode()
    script = "import sys; sys.stdout.writelines(f'step {n}\\n' for n in range(450_000))"
    assert run(attempt.argv(sys.executable, "-ISc", script, segment_bytes=70_001)) == 0
    assert attempt.end()["log_bytes"] == str(len(lines))
    (older, first), (newest, second) = attempt.segments().items()
    assert older % 70_001 == 0
    assert older + len(first) == newest
    assert len(first) == 70_001
    assert first + second == lines[older:]


@pytest.mark.parametrize(
    ("size", "segments"),
    [(0, {0: 0}), (9, {0: 9}), (10, {0: 10}), (11, {0: 10, 10: 1}), (30, {10: 10, 20: 10})],
)
def test_a_segment_begins_with_its_first_byte(
    attempt: Attempt, size: int, segments: dict[int, int]
) -> None:
    assert run(attempt.argv("printf", "x" * size, segment_bytes=10)) == 0
    assert {offset: len(data) for offset, data in attempt.segments().items()} == segments


def test_stdout_and_stderr_keep_their_order(attempt: Attempt) -> None:
    script = "for n in 1 2 3 4 5 6 7 8 9; do echo out $n; echo err $n >&2; done"
    assert run(attempt.argv("sh", "-c", script)) == 0
    assert attempt.log() == "".join(f"out {n}\nerr {n}\n" for n in range(1, 10))


def test_the_shortest_commands_keep_all_of_their_output(tmp_path: Path) -> None:
    for number in range(50):
        folder = tmp_path / str(number)
        folder.mkdir()
        attempt = Attempt(folder)
        assert run(attempt.argv("echo", str(number))) == 0
        assert attempt.log() == f"{number}\n"


def test_output_of_a_killed_grandchild_is_kept(attempt: Attempt) -> None:
    # More than a pipe holds, by a process that outlives the command.
    script = "head -c 60000 /dev/zero | tr '\\0' x >&2 & wait; (echo last; exec sleep 60) & exit 0"
    argv = attempt.argv("sh", "-c", script)
    assert run(argv) == 0
    assert attempt.log().startswith("x" * 60_000)


# Puts the folder $1 on a file system of 64 pages, 24 of them free, runs the rest, and keeps what
# the folder then holds.
ON_TINY_DISK = """
run=$1; shift; kept=$run.kept; mv "$run" "$kept"; mkdir "$run"
mount -t tmpfs -o size=256k none "$run"; cp -a "$kept"/. "$run"
head -c 163840 /dev/zero > "$run/filler"
status=0; "$@" || status=$?
rm "$run/filler"; cp -a "$run"/. "$kept"; umount "$run"; rmdir "$run"; mv "$kept" "$run"
exit $status
"""


def test_a_full_disk_stops_neither_the_command_nor_the_log_for_good(attempt: Attempt) -> None:
    script = (
        "head -c 300000 /dev/zero | tr '\\0' x; : > filler; echo room again; echo done > finished"
    )
    argv = attempt.argv("sh", "-c", script, segment_bytes=65_536, cwd=attempt.folder)
    assert run([*in_mount_namespace(ON_TINY_DISK), str(attempt.folder), *argv]) == 0
    assert (attempt.folder / "finished").read_text() == "done\n"
    end, segments = attempt.end(), attempt.segments()
    assert end["code"] == "0"
    assert end["log_error"] == "No space left on device"
    assert int(end["log_bytes"]) < 300_000
    assert max(segments) + len(segments[max(segments)]) == int(end["log_bytes"])
    assert attempt.log().endswith("room again\n")


def test_the_end_is_recorded_on_a_disk_that_stays_full(attempt: Attempt) -> None:
    script = "head -c 300000 /dev/zero >> filler; echo lost; exit 5"
    argv = attempt.argv("sh", "-c", script, cwd=attempt.folder)
    assert run([*in_mount_namespace(ON_TINY_DISK), str(attempt.folder), *argv]) == 5
    end = attempt.end()
    assert (end["code"], end["log_error"]) == ("5", "No space left on device")


def test_nothing_is_claimed_on_a_disk_that_is_full(attempt: Attempt) -> None:
    full = (
        ON_TINY_DISK.replace("163840", "262144")
        .replace(" > ", " 2>&- > ")
        .replace('"$run/filler"\nstatus', '"$run/filler" || true\nstatus')
    )
    command = [*in_mount_namespace(full), str(attempt.folder), *attempt.argv("touch", "started")]
    assert run(command) == 121
    assert sorted(file.name for file in attempt.folder.iterdir()) == ["gate", "open"]
    assert run(attempt.argv("true")) == 0


def test_the_claim_waits_for_the_room_of_the_end(attempt: Attempt) -> None:
    """Room for the claim, which takes one page of the disk, and for nothing else."""
    tight = ON_TINY_DISK.replace("163840", "258048")
    command = [*in_mount_namespace(tight), str(attempt.folder), *attempt.argv("true")]
    assert run(command) == 121
    assert sorted(file.name for file in attempt.folder.iterdir()) == ["gate", "open"]


def test_file_size_limit_does_not_end_the_task(attempt: Attempt) -> None:
    argv = attempt.argv("sh", "-c", "head -c 100000 /dev/zero; exit 7")
    assert run(["sh", "-c", 'ulimit -f 16; exec "$@"', "sh", *argv]) == 7
    end = attempt.end()
    assert end["log_error"] == "File too large"
    assert [len(data) for data in attempt.segments().values()] == [int(end["log_bytes"])]


def test_a_link_in_place_of_the_log_is_not_followed(attempt: Attempt, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    (attempt.folder / f"log.{0:020}").symlink_to(target)
    assert run(attempt.argv("echo", "lost")) == 0
    assert not target.exists()
    assert attempt.end()["log_error"] == "File exists"


def test_a_task_that_deletes_its_folder_still_gets_its_end_recorded(attempt: Attempt) -> None:
    assert run(attempt.argv("sh", "-c", f"rm {attempt.folder}/*; exit 8")) == 8
    assert attempt.end()["code"] == "8"
