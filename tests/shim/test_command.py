"""The command: how it is started, signalled and ended, and what is recorded of it."""

import os
import resource
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.shim.attempt import (
    Attempt,
    await_death,
    end_by,
    gone,
    in_mount_namespace,
    run,
    running,
)
from tests.support.waiting import SECONDS, wait_until

IGNORES_SIGTERM = "trap '' TERM; echo ready; while :; do sleep 60; done"


def ready(attempt: Attempt) -> None:
    """Until the command has printed a whole line."""
    wait_until(lambda: "\n" in attempt.log(), "the command is ready")


@pytest.mark.parametrize("code", [0, 1, 120, 255])
def test_the_exit_code_is_recorded_and_passed_on(attempt: Attempt, code: int) -> None:
    before = time.time_ns() // 1_000_000
    assert run(attempt.argv("sh", "-c", f"exit {code}")) == code
    end, started = attempt.end(), attempt.record("started")
    assert list(end) == ["code", "at_ms", "started_ms", "timed_out", "stopped", "log_bytes"]
    assert (end["code"], end["timed_out"], end["stopped"]) == (str(code), "0", "0")
    assert started["at_ms"] == end["started_ms"]
    after = time.time_ns() // 1_000_000
    assert before <= int(end["started_ms"]) <= int(end["at_ms"]) <= after
    left = {file.name for file in attempt.folder.iterdir()}
    assert left == {"gate", "open", "claim", "started", "exit", "log.00000000000000000000"}


def test_a_death_by_signal_is_recorded_as_one(attempt: Attempt) -> None:
    assert run(attempt.argv("sh", "-c", "kill -SEGV $$")) == 128 + signal.SIGSEGV
    assert attempt.end()["signal"] == str(int(signal.SIGSEGV))
    assert "code" not in attempt.end()


def test_a_command_that_is_not_found(attempt: Attempt) -> None:
    assert run(attempt.argv("no-such-command")) == 127
    end = attempt.end()
    assert end["code"] == "127"
    assert end["error"] == "cannot start the command: No such file or directory"
    assert end["at_ms"] == end["started_ms"]
    assert not (attempt.folder / "started").exists()


def test_a_command_that_is_not_executable(attempt: Attempt, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print('never')\n")
    assert run(attempt.argv(str(tmp_path / "train.py"))) == 126
    assert attempt.end()["error"] == "cannot start the command: Permission denied"


def test_a_working_directory_that_is_missing(attempt: Attempt, tmp_path: Path) -> None:
    assert run(attempt.argv("true", cwd=tmp_path / "missing")) == 127
    assert attempt.end()["error"] == (
        "cannot enter the working directory: No such file or directory"
    )


def test_directory_arguments_environment_and_stdin(attempt: Attempt, tmp_path: Path) -> None:
    script = 'pwd; printf "[%s]" "$@"; echo; env; readlink /proc/self/fd/0'
    environment = {"PATH": os.environ["PATH"], "SEED": "4 2"}
    argv = attempt.argv("sh", "-c", script, "sh", "a b", "", "--", cwd=tmp_path)
    assert run(argv, env=environment) == 0
    lines = attempt.log().splitlines()
    assert lines[:2] == [str(tmp_path), "[a b][][--]"]
    assert lines[-1] == "/dev/null"
    assert (
        {"SEED=4 2", f"PATH={os.environ['PATH']}"}
        <= set(lines)
        <= {
            *lines[:2],
            "/dev/null",
            "SEED=4 2",
            f"PATH={os.environ['PATH']}",
            f"PWD={tmp_path}",
        }
    )


def test_the_command_gets_no_descriptor_signal_mask_or_disposition_of_the_shim(
    attempt: Attempt,
) -> None:
    argv = attempt.argv("sh", "-c", "grep -E 'Sig(Blk|Ign)' /proc/self/status; ls -l /proc/$$/fd")
    inherits = (
        "import os, signal, sys\n"
        "for number in (1, 10, 13, 15, 17, 25): signal.signal(number, signal.SIG_IGN)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    assert run([sys.executable, "-ISc", inherits, *argv]) == 0
    lines = attempt.log().splitlines()
    assert lines[:2] == [f"SigBlk:\t{0:016x}", f"SigIgn:\t{0:016x}"]
    fds = {line.split()[8]: line.split(" -> ")[1] for line in lines[3:]}
    assert set(fds) == {"0", "1", "2"}
    assert fds["1"] == fds["2"]


def test_closed_standard_descriptors_harm_nothing(attempt: Attempt) -> None:
    argv = attempt.argv("sh", "-c", "readlink /proc/self/fd/0; echo out; echo err >&2")
    assert run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *argv]) == 0
    assert attempt.log() == "/dev/null\nout\nerr\n"
    assert attempt.end()["log_bytes"] == str(len(attempt.log()))


def test_sigterm_reaches_the_command_which_may_end_in_its_own_way(attempt: Attempt) -> None:
    script = "trap 'echo saved; exit 5' TERM; echo ready; while :; do sleep 0.01; done"
    with running(attempt.argv("sh", "-c", script)) as shim:
        ready(attempt)
        assert end_by(shim, signal.SIGTERM) == 5
    assert attempt.log().endswith("saved\n")
    end = attempt.end()
    assert (end["code"], end["stopped"], end["timed_out"]) == ("5", "1", "0")


def test_process_that_ignores_sigterm_is_killed_after_the_grace(attempt: Attempt) -> None:
    argv = attempt.argv("sh", "-c", IGNORES_SIGTERM, grace_ms=150)
    with running(argv) as shim:
        ready(attempt)
        sent = time.monotonic()
        assert end_by(shim, signal.SIGTERM) == 128 + signal.SIGKILL
        assert time.monotonic() - sent >= 0.15
    end = attempt.end()
    assert (end["signal"], end["stopped"], end["timed_out"]) == ("9", "1", "0")


def test_a_second_sigterm_does_not_lengthen_the_grace(attempt: Attempt) -> None:
    script = "import os, signal; signal.signal(15, lambda *_: os.write(1, b'again\\n'))\n"
    script += "print('ready', flush=True)\nwhile True: signal.pause()"
    argv = attempt.argv(sys.executable, "-ISc", script, grace_ms=400)
    with running(argv) as shim:
        ready(attempt)
        for _ in range(100):  # five seconds of them, against a grace of 0.4
            if shim.poll() is not None:
                break
            shim.send_signal(signal.SIGTERM)
            time.sleep(0.05)
        assert shim.returncode == 128 + signal.SIGKILL
    assert "again" in attempt.log()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_other_signals_are_passed_on_and_stop_nothing(
    attempt: Attempt, number: signal.Signals
) -> None:
    name = number.name.removeprefix("SIG")
    script = f"trap 'echo {name}; exit 6' {name}; echo ready; while :; do sleep 0.01; done"
    with running(attempt.argv("sh", "-c", script)) as shim:
        ready(attempt)
        assert end_by(shim, number) == 6
    assert attempt.log().endswith(f"{name}\n")  # the shell may name its sleep's end before
    assert attempt.end()["stopped"] == "0"


def test_signals_reach_the_whole_process_group(attempt: Attempt) -> None:
    script = "trap : TERM; "
    script += (
        "(trap 'echo child; exit' TERM; echo ready; while :; do sleep 0.01; done) & wait; wait"
    )
    with running(attempt.argv("sh", "-c", script)) as shim:
        ready(attempt)
        assert end_by(shim, signal.SIGTERM) == 0
    assert attempt.log().endswith("child\n")


def test_the_time_limit_sends_sigterm(attempt: Attempt) -> None:
    assert run(attempt.argv("sleep", "60", timeout_ms=50)) == 128 + signal.SIGTERM
    end = attempt.end()
    assert (end["signal"], end["stopped"], end["timed_out"]) == ("15", "0", "1")
    assert int(end["at_ms"]) - int(end["started_ms"]) >= 50


def test_the_time_limit_kills_after_the_grace(attempt: Attempt) -> None:
    argv = attempt.argv("sh", "-c", IGNORES_SIGTERM, timeout_ms=50, grace_ms=50)
    assert run(argv) == 128 + signal.SIGKILL
    end = attempt.end()
    assert (end["signal"], end["stopped"], end["timed_out"]) == ("9", "0", "1")


def test_a_limit_that_is_not_reached_changes_nothing(attempt: Attempt) -> None:
    assert run(attempt.argv("true", timeout_ms=60_000)) == 0
    assert attempt.end()["timed_out"] == "0"


def test_a_command_that_closes_its_output_is_awaited_without_a_busy_wait(attempt: Attempt) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run(attempt.argv("sh", "-c", "exec >&- 2>&-; sleep 0.5; exit 4")) == 4
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.06


def test_closed_stderr_has_no_effect(attempt: Attempt) -> None:
    (attempt.folder / "started.tmp").touch()  # which the shim then complains about
    unread, stderr = os.pipe()
    os.close(unread)
    with running(attempt.argv("sh", "-c", "exit 9"), stderr=stderr) as shim:
        os.close(stderr)
        assert shim.wait(SECONDS) == 9
    assert attempt.end()["code"] == "9"


def test_a_grandchild_that_holds_the_output_open_is_ended(attempt: Attempt) -> None:
    assert run(attempt.argv("sh", "-c", "echo $$; sleep 60 & echo $!; exit 0")) == 0
    assert all(gone(int(pid)) for pid in attempt.log().split())


def test_descendants_that_left_group_and_session_are_ended(attempt: Attempt) -> None:
    # A chain: each in a session of its own, orphaned, ignoring what can be ignored.
    script = (
        "import os, signal, time\n"
        "for depth in range(8):\n"
        "    if os.fork():\n"
        "        if depth: time.sleep(60)\n"
        "        break\n"
        "    os.setsid(); signal.signal(15, signal.SIG_IGN)\n"
        "    os.write(1, f'{os.getpid()}\\n'.encode())\n"
        "else: os.write(1, b'all\\n'); time.sleep(60)\n"
        "import sys\n"
        "while b'all' not in open(sys.argv[1], 'rb').read(): time.sleep(0.001)\n"
    )
    log = attempt.folder / f"log.{0:020}"
    assert run(attempt.argv(sys.executable, "-ISc", script, str(log))) == 0
    *pids, last = attempt.log().split()
    assert (len(pids), last) == (8, "all")
    assert all(gone(int(pid)) for pid in pids)


def test_without_the_kernels_list_of_children_the_group_is_ended(
    attempt: Attempt, tmp_path: Path
) -> None:
    # A /proc that holds no more than the shim must have, and what sanitizers read.
    wrapper = (
        'mkdir -p "$1/self" "$1/sys/kernel/random"\n'
        'cp /proc/self/stat /proc/self/environ "$1/self"\n'
        'cp /proc/sys/kernel/random/boot_id "$1/sys/kernel/random"; mount --bind "$1" /proc\n'
        'shift; exec "$@"'
    )
    argv = attempt.argv("sh", "-c", "sleep 60 & echo $!")
    assert run([*in_mount_namespace(wrapper), str(tmp_path / "proc"), *argv]) == 0
    await_death(int(attempt.log()))


def test_orphans_are_reaped_while_the_command_runs(attempt: Attempt) -> None:
    with running(attempt.argv("sh", "-c", "(true & echo $!); exec sleep 60")) as shim:
        ready(attempt)
        orphan = int(attempt.log())
        wait_until(lambda: gone(orphan), "the orphan is reaped")
        assert end_by(shim, signal.SIGTERM) == 128 + signal.SIGTERM


def test_the_command_dies_with_its_shim(attempt: Attempt) -> None:
    with running(attempt.argv("sh", "-c", "echo ready; exec sleep 60")) as shim:
        ready(attempt)
        command = int(attempt.record("started")["pid"])
        assert end_by(shim, signal.SIGKILL) == -signal.SIGKILL
    await_death(command)
    assert not (attempt.folder / "exit").exists()


def test_as_the_first_process_of_a_container(attempt: Attempt) -> None:
    """PID 1 gets no signal that it has not asked for. Here it has no privileges either."""
    script = f"echo $PPID; grep CapEff /proc/self/status; setsid sleep 60 & {IGNORES_SIGTERM}"
    namespace = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    namespace += [] if os.geteuid() == 0 else ["--map-root-user"]
    bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    argv = attempt.argv("sh", "-c", script, grace_ms=100)
    with running([*namespace, *bare, *argv]) as unshare:
        wait_until(lambda: "ready" in attempt.log(), "the command is ready")
        children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children").read_text()
        os.kill(int(children), signal.SIGTERM)
        assert unshare.wait(SECONDS) == 128 + signal.SIGKILL
    assert attempt.log() == f"1\nCapEff:\t{0:016x}\nready\n"
    assert (attempt.record("claim")["pid"], attempt.end()["stopped"]) == ("1", "1")


# Runs the rest as PID 1 where /sys/fs/cgroup has the file $1 with the text $2 in it.
WITH_COUNTS = """
mount -t tmpfs none /sys/fs/cgroup; mkdir -p "/sys/fs/cgroup/$(dirname "$1")"
printf "$2" > "/sys/fs/cgroup/$1"; shift 2
exec unshare --pid --fork --mount-proc "$@"
"""


@pytest.mark.parametrize(
    ("name", "content", "ran_out"),
    [
        ("memory.events", "oom 2\noom_kill 0\noom_group_kill 0\n", False),
        ("memory.events", "oom 2\noom_kill 12\noom_group_kill 0\n", True),
        ("memory/memory.oom_control", "oom_kill_disable 0\noom_kill 0\n", False),
        ("memory/memory.oom_control", "oom_kill_disable 0\noom_kill 1\n", True),
        ("memory/else", "oom_kill 1\n", False),
    ],
)
def test_out_of_memory_kill_is_recorded(
    attempt: Attempt, name: str, content: str, ran_out: bool
) -> None:
    """Of cgroups version 2 and version 1. Without PID 1 it would be another's count."""
    argv = attempt.argv("sh", "-c", "kill -9 $$")
    assert run([*in_mount_namespace(WITH_COUNTS), name, content, *argv]) == 137
    assert (attempt.end().get("out_of_memory") == "1") == ran_out


def test_warning_comes_before_the_time_limit(attempt: Attempt) -> None:
    script = """trap 'echo warned; exit 7' USR1; while :; do sleep 0.02; done"""
    assert run(attempt.argv("sh", "-c", script, timeout_ms=600_000, warn_ms=599_800)) == 7
    end = attempt.end()
    assert (end["code"], end["warned"], end["timed_out"]) == ("7", "1", "0")
    assert int(end["at_ms"]) - int(end["started_ms"]) >= 200
    assert "warned" in attempt.log()


def test_warning_does_not_move_the_time_limit(attempt: Attempt) -> None:
    script = """trap 'echo warned' USR1; while :; do sleep 0.02; done"""
    assert run(attempt.argv("sh", "-c", script, timeout_ms=400, warn_ms=300)) == 143
    end = attempt.end()
    assert (end["signal"], end["warned"], end["timed_out"]) == ("15", "1", "1")
    assert int(end["at_ms"]) - int(end["started_ms"]) >= 400


def test_no_warning_after_a_stop(attempt: Attempt) -> None:
    script = "trap 'echo warned' USR1; trap '' TERM; echo ready; while :; do sleep 0.02; done"
    argv = attempt.argv("sh", "-c", script, timeout_ms=600_000, warn_ms=599_600, grace_ms=800)
    with running(argv) as process:
        ready(attempt)
        assert end_by(process, signal.SIGTERM) == 137
    assert "warned" not in attempt.log()
    assert "warned" not in attempt.end()


def test_variables_of_a_file(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path)
    file = tmp_path / "environment"
    file.write_bytes(b"A=it's\n$x\0GIVEN=new\0no variable\0EMPTY=\0")
    script = 'printf "%s|%s|%s|%s" "$A" "$GIVEN" "${EMPTY-unset}" "$KEPT"'
    argv = attempt.argv("sh", "-c", script)
    env = {"PATH": os.environ["PATH"], "GIVEN": "old", "KEPT": "kept"}
    assert run([*argv[:1], "--env", str(file), *argv[1:]], env) == 0
    assert attempt.log() == "it's\n$x|new||kept"


def test_file_removes_variables(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path)
    file = tmp_path / "environment"
    file.write_bytes(b"SLURM\0\0SLURM_MINE=1\0KEPT_NOT=1\0KEPT_N\0")
    argv = attempt.argv("sh", "-c", "export -p")
    env = {"PATH": os.environ["PATH"], "SLURM_JOB_ID": "7", "SLURM": "", "MY_SLURM": "2"}
    assert run([*argv[:1], "--env", str(file), *argv[1:]], env) == 0
    names = {line.split()[1].partition("=")[0] for line in attempt.log().splitlines()}
    assert names - {"PWD", "OLDPWD", "SHLVL", "_"} == {"PATH", "SLURM_MINE", "MY_SLURM"}


def test_variables_that_cannot_be_read(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path)
    argv = attempt.argv("true")
    assert run([*argv[:1], "--env", str(tmp_path / "missing"), *argv[1:]]) == 127
    assert attempt.end()["error"].startswith("cannot read the environment")
