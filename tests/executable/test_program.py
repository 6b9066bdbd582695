"""Properties of the executable alone: two processes, a temporary folder, one file."""

import fcntl
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from fetchml.api.rest.status import OPENAPI
from fetchml.cli.main import COMMANDS
from tests.executable.conftest import ROOT, Start
from tests.server.environment_tasks import pinned, wheel
from tests.support.cli_server import SECONDS, Server, environment
from tests.support.commands import ran
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

MAX_BYTES = 130_000_000


def child_of(server: Server) -> int:
    """The process that serves."""
    pid = server.process.pid
    [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def unpacked(temporary: Path) -> list[Path]:
    return list(temporary.glob("_MEI*"))


def ask(server: Server, path: str) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection(server.http)) as connection:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read()


def eventually_gone(pid: int) -> None:
    wait_until(lambda: _state(pid) == "Z", f"the end of process {pid}")


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def run(executable: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return ran([executable, *arguments], env=environment(**variables))


def test_executable_is_small_and_reports_its_version(executable: str) -> None:
    assert Path(executable).stat().st_size < MAX_BYTES
    head = ran(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, check=True).stdout.strip()
    said = run(executable, "version").stdout.split()
    assert said[said.index("commit") + 1].removesuffix("-changed") == head


@pytest.mark.parametrize("command", [name for part in COMMANDS.values() for name in part])
def test_every_command_is_included(executable: str, command: str) -> None:
    done = run(executable, command, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: fetchml {command}")


def test_all_files_are_included(start: Start) -> None:
    server = start(FETCHML_HISTORY_TIME_ZONE="Europe/Berlin", PYTHONTZPATH="")
    status, body = ask(server, "/openapi.yaml")
    assert status == 200
    assert body == OPENAPI.read_bytes()
    assert server.run("submit", "--wait", "--", "echo", "said").succeeded() == "said"
    [unpacked_folder] = unpacked(server.data_dir.parent / "temporary")
    for shim in ("shim-x86_64", "shim-aarch64"):
        inside = unpacked_folder / "fetchml/shim" / shim
        assert inside.read_bytes() == (ROOT / "fetchml/shim" / shim).read_bytes()


def test_sigterm_ends_both_processes_and_leaves_nothing(start: Start, temporary: Path) -> None:
    server = start()
    child = child_of(server)
    assert len(unpacked(temporary)) == 1
    assert server.stop() == 0
    assert _state(child) == "Z"
    assert unpacked(temporary) == []


def test_signal_to_the_process_group_is_delivered_once(
    executable: str, tmp_path: Path, temporary: Path
) -> None:
    """Ctrl-C: twice would mean to end at once."""
    flags = ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--launcher", "process"]
    with subprocess.Popen(
        [executable, "serve", "--data-dir", str(tmp_path / "data"), *flags],
        env=environment(TMPDIR=str(temporary)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready ")
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said
    assert "second signal" not in said
    assert unpacked(temporary) == []


def test_killing_the_parent_ends_the_child(start: Start, temporary: Path) -> None:
    server = start()
    task_id = server.run("submit", "--", "sh", "-c", "sleep 1; echo after").succeeded()
    child = child_of(server)
    assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    eventually_gone(child)
    [left] = unpacked(temporary)
    server.start()
    [now] = unpacked(temporary)
    assert now != left, "what the killed one left was removed"
    assert server.run("submit", "--", "true").succeeded()
    assert server.run("logs", "-f", task_id).succeeded() == "after"
    assert server.stop() == 0


def test_killing_the_child_ends_the_parent(start: Start, temporary: Path) -> None:
    server = start()
    task_id = server.run("submit", "--", "sh", "-c", "sleep 1; echo after").succeeded()
    os.kill(child_of(server), signal.SIGKILL)
    assert server.wait() == -signal.SIGKILL
    assert unpacked(temporary) == []
    server.start()
    assert server.run("logs", "-f", task_id).succeeded() == "after"
    assert server.stop() == 0


def test_only_unused_temporary_folders_are_removed(start: Start, temporary: Path) -> None:
    """Another's folder, one that is just being unpacked, and one that is no folder of ours."""
    foreign = temporary / "_MEIother"
    foreign.mkdir()
    fresh = temporary / "_MEIfresh"
    (fresh / "fetchml").mkdir(parents=True)
    old = temporary / "_MEIold"
    (old / "fetchml").mkdir(parents=True)
    os.utime(old, (0, 0))
    link = temporary / "_MEIlink"
    link.symlink_to(fresh)
    first = start("first")
    [of_first] = set(unpacked(temporary)) - {foreign, fresh, old, link}
    second = start("second")
    assert {foreign, fresh, link, of_first} < set(unpacked(temporary))
    assert not old.exists()
    assert ask(first, "/livez")[0] == 200
    assert first.stop() == 0
    assert second.stop() == 0


def test_tmp_cleaner_keeps_the_folder_in_use(start: Start, temporary: Path) -> None:
    """systemd-tmpfiles asks for the folder's own lock before it looks for old files in it."""
    server = start()
    [folder] = unpacked(temporary)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with pytest.raises(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert server.stop() == 0
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(fd)


def test_runs_tasks_after_its_temporary_folder_is_removed(start: Start, temporary: Path) -> None:
    server = start()
    before = server.run("submit", "--", "sh", "-c", "sleep 1; echo before").succeeded()
    [folder] = unpacked(temporary)
    shutil.rmtree(folder)
    assert server.run("submit", "--wait", "--", "echo", "after").succeeded() == "after"
    assert server.run("logs", "-f", before).succeeded() == "before"
    assert json.loads(ask(server, "/health")[1])["status"] == "healthy"
    assert server.stop() == 0


def test_started_programs_have_the_environment_of_the_caller(
    executable: str, tmp_path: Path, start: Start
) -> None:
    server = start()
    programs, code = tmp_path / "programs", tmp_path / "code"
    programs.mkdir()
    code.mkdir()
    (code / "train.py").write_text("")
    (programs / "git").write_text(f"#!/bin/sh\nenv > {tmp_path}/seen\nexit 1\n")
    (programs / "git").chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    for before in ({}, {"LD_LIBRARY_PATH": "/of/the/caller"}):
        variables = {**server.variables, "PATH": path, **before}
        run(executable, "submit", "--dir", str(code), "--", "true", **variables)
        seen = dict(
            line.partition("=")[::2] for line in (tmp_path / "seen").read_text().splitlines()
        )
        assert seen.get("LD_LIBRARY_PATH", "").strip() == before.get("LD_LIBRARY_PATH", "")
        assert not [name for name in seen if name.startswith("_PYI")]
        (tmp_path / "seen").unlink()


@pytest.mark.parametrize(
    ("options", "says", "left"),
    [("size=20m", "No space left", "_MEI"), ("noexec", "failed to map segment", "")],
)
def test_unusable_temporary_folder_is_reported(
    executable: str, temporary: Path, options: str, says: str, left: str
) -> None:
    """Another TMPDIR helps, as docs/operations.md says."""
    mounted = 'mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && "$@"; code=$?; ls -A "$TMPDIR"; '
    command = ["unshare", "--mount", "sh", "-c", f"{mounted} exit $code", "sh"]
    done = ran(
        [*command, options, temporary, executable, "version"],
        env=environment(TMPDIR=str(temporary)),
    )
    assert done.returncode not in {0, 1, 2}
    assert says in done.stderr
    assert done.stdout[: len("_MEI")] == left


def test_page_is_in_it(start: Start) -> None:
    server = start()
    status, page = ask(server, "/ui/")
    assert status == 200
    (script,) = re.findall(rb'src="(/ui/assets/main-[\w]+\.js)"', page)
    status, body = ask(server, script.decode())
    assert (status, len(body) > 1000) == (200, True)
    assert server.stop() == 0


def test_environments_are_built_by_the_uv_of_the_host(start: Start, tmp_path: Path) -> None:
    """The executable has none in it."""
    wheel(tmp_path / "wheels", "1.0")
    code = tmp_path / "code"
    code.mkdir()
    (code / "train.py").write_text("import tiny; print(tiny.WHAT)")
    (code / "requirements.txt").write_bytes(pinned("1.0"))
    submit = ("submit", "--wait", "--dir", str(code), "--", "python3", "train.py")
    programs = "/usr/local/bin:/usr/bin:/bin"
    assert shutil.which("uv", path=programs) is None

    server = start("without", PATH=programs)
    ran = server.run(*submit, PATH=programs)
    assert "this server offers no environments" in ran.err
    assert "No module named 'tiny'" in ran.out
    asked = ("submit", "--environment", "requirements.txt", *submit[2:])
    refused = server.run(*asked, PATH=programs).failed(2)
    assert "uv is not installed here" in " ".join(refused.split())
    assert server.stop() == 0

    (tmp_path / "programs").mkdir()
    (tmp_path / "programs/uv").symlink_to(Path(sys.executable).with_name("uv"))
    server = start(
        "with",
        PATH=f"{tmp_path / 'programs'}:{programs}",
        FETCHML_ENVIRONMENTS_FIND_LINKS=str(tmp_path / "wheels"),
    )
    assert server.run(*submit, PATH=programs).succeeded() == "tiny 1.0"
    assert server.stop() == 0
