"""The release's executable on bare Debian 11 and 12. `make test-release` names this file."""

import signal
from collections.abc import Callable
from pathlib import Path

from testbed.docker_engine import Engine
from tests.executable.bare_debians import Inside, Server
from tests.support.cli_server import environment
from tests.support.commands import ran

FIRST_ANSWER_SECONDS = 1.5
STARTS = 20


def test_starts_quickly_and_runs_a_task(
    serve_inside: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve_inside()
    for _ in range(STARTS):
        # The best of some: what else the machine does is no fault of ours.
        if server.answered_after < FIRST_ANSWER_SECONDS:
            break
        assert server.end(signal.SIGTERM) == 0
        server = serve_inside()
    assert server.answered_after < FIRST_ANSWER_SECONDS
    assert server.log(server.submit("sh", "-c", "echo $((6 * 7))")) == b"42\n"
    assert server.end(signal.SIGTERM) == 0
    assert not list(tmp_path.glob("_MEI*"))


def test_task_in_a_container(
    serve_inside: Callable[..., Server], docker_engine: Engine, python_image: str
) -> None:
    socket = Path(docker_engine.host.removeprefix("unix://"))
    server = serve_inside("docker", socket.parent, DOCKER_HOST=docker_engine.host)
    task_id = server.submit("python3", "-c", "print(6 * 7)", image=python_image)
    assert server.log(task_id) == b"42\n"
    assert server.end(signal.SIGTERM) == 0


def test_kill_loses_no_task(serve_inside: Callable[..., Server], tmp_path: Path) -> None:
    server = serve_inside()
    runs = server.submit("sh", "-c", "sleep 2; echo after")
    waits = server.submit("true")
    server.end(signal.SIGKILL)
    left = set(tmp_path.glob("_MEI*"))
    again = serve_inside()
    assert not left & set(tmp_path.glob("_MEI*"))
    assert again.log(runs) == b"after\n"
    assert again.log(waits) == b""
    assert again.end(signal.SIGTERM) == 0


def test_service_is_installed_upgraded_and_removed(
    inside: Inside, debian: Path, tmp_path: Path
) -> None:
    """With a systemctl that writes down what it is asked; then what the unit would run."""
    systemctl = debian / "usr/local/sbin/systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\necho ActiveState=active\n')
    systemctl.chmod(0o755)
    unit = debian / "etc/systemd/system/fetchml.service"
    path = {"PATH": "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": str(tmp_path)}

    def run(*command: str) -> str:
        return ran(inside(command), env=environment(**path), check=True).stdout

    install = ("service", "install", "--yes", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    run("/fetchml", *install, "--launcher", "process")
    assert (tmp_path / "asked").read_text().splitlines() == [
        "daemon-reload",
        "enable fetchml.service",
        "restart fetchml.service",
    ]
    [line] = [line for line in unit.read_text().splitlines() if line.startswith("ExecStart=")]
    as_user = 'mkdir -p "$0" && chown fetchml: "$0" && exec setpriv --reuid fetchml --regid fetchml'
    data = str(tmp_path / "var")
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    command = line.removeprefix("ExecStart=").replace("/var/lib/fetchml", data).split()
    server = Server(
        inside(["sh", "-c", f'{as_user} --init-groups "$@"', data, *command]),
        TMPDIR=str(tmp_path),
    )
    assert server.log(server.submit("id", "-un")) == b"fetchml\n"
    assert server.end(signal.SIGTERM) == 0

    run("/usr/local/bin/fetchml", *install, "--launcher", "docker")
    assert "--launcher docker" in unit.read_text()
    assert "state active" in run("/fetchml", "service", "status")
    run("/fetchml", "service", "uninstall", "--yes")
    assert not unit.exists()
    assert not (debian / "usr/local/bin/fetchml").exists()
    assert Path(data, "store/fetchml.duckdb").exists()
    assert "fetchml:" in (debian / "etc/passwd").read_text()


def test_older_release_does_not_replace_a_newer_one(inside: Inside, debian: Path) -> None:
    place = debian / "usr/local/bin/fetchml"
    place.write_text('#!/bin/sh\necho \'{"version": "9.0", "schema": 1000}\'\n')
    place.chmod(0o755)
    try:
        refused = ran(inside(["/fetchml", "service", "install", "--yes"]), env=environment())
        assert refused.returncode == 1
        assert "9.0 is installed" in refused.stderr
        assert place.read_text().startswith("#!/bin/sh")
    finally:
        place.unlink()
