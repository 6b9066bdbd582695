"""The systemd unit: its text, a dry run of its installation, and notifications to systemd."""

import re
import shutil
import signal
import socket
from pathlib import Path

import pytest

from fetchml.ops.systemd_unit import BadArgument, unit
from testbed import debian
from tests.support.cli_server import SECONDS, Server, run
from tests.support.commands import ran
from tests.support.other_user import ROOT

DATA = Path("/var/lib/fetchml")


def systemd_analyze() -> str:
    if not shutil.which("systemd-analyze"):
        debian.install("systemd")
    return "systemd-analyze"


@pytest.mark.parametrize("docker", [True, False])
@pytest.mark.parametrize("data_dir", [DATA, Path("/srv/fetchml")])
def test_systemd_verifies_the_unit(tmp_path: Path, data_dir: Path, docker: bool) -> None:
    text = unit(
        ["/bin/true", "serve"],
        data_dir=data_dir,
        docker=docker,
        docker_group=docker,
        writable=[Path("/srv/notebooks")],
    )
    (tmp_path / "fetchml.service").write_text(text)
    verified = ran([systemd_analyze(), "verify", "--man=no", tmp_path / "fetchml.service"])
    about_it = [line for line in verified.stderr.splitlines() if "fetchml.service" in line]
    assert (verified.returncode, about_it) == (0, [])


def test_systemd_rating_matches_the_documentation(tmp_path: Path) -> None:
    [said] = re.findall(
        r"rates it ([0-9.]+) \(([0-9.]+) with `--launcher process`",
        (ROOT / "docs/operations.md").read_text(),
    )
    rated = []
    for docker in (True, False):
        text = unit(["/bin/true", "serve"], data_dir=DATA, docker=docker, docker_group=docker)
        (tmp_path / "fetchml.service").write_text(text)
        shown = ran(
            [systemd_analyze(), "security", "--offline=true", tmp_path / "fetchml.service"]
        ).stdout
        rated += re.findall(r"Overall exposure level for fetchml.service: ([0-9.]+)", shown)
    assert rated == list(said)


def test_unit_for_process_tasks_keeps_tmp_and_oom_score() -> None:
    def lines(docker: bool) -> set[str]:
        text = unit(["/bin/true"], data_dir=DATA, docker=docker, docker_group=docker)
        return set(text.splitlines())

    assert lines(docker=True) > {"PrivateTmp=yes", "OOMScoreAdjust=-500"}
    with_tasks = lines(docker=False)
    assert not [line for line in with_tasks if line.startswith(("PrivateTmp", "OOMScore"))]
    assert "ReadWritePaths=/tmp -/var/tmp" in with_tasks


def test_value_with_systemd_syntax_is_rejected() -> None:
    for word in ("a b", "$HOME", "%h", "a;b", "", "ä", 'a"', "a\\n", "a\n"):
        with pytest.raises(BadArgument):
            unit(["/bin/true", word], data_dir=DATA, docker=True, docker_group=True)


@pytest.mark.slow
def test_dry_run_shows_all_steps_and_changes_nothing(executable: str, tmp_path: Path) -> None:
    shown = ran(
        [executable, "service", "install", "--dry-run", "--data-dir", str(tmp_path / "data")],
        check=True,
    ).stdout
    assert f"ExecStart=/usr/local/bin/fetchml serve --data-dir {tmp_path}/data" in shown
    steps = re.findall(r"^- (.*)", shown, re.MULTILINE)
    assert any("/usr/local/bin/fetchml" in step for step in steps)
    assert not (tmp_path / "data").exists()
    assert not Path("/etc/systemd/system/fetchml.service").exists()


def test_invalid_settings_are_reported_before_any_change(tmp_path: Path) -> None:
    wrong = run("service", "install", "--yes", "--http", "nowhere")
    assert wrong.code == 2
    assert not Path("/etc/systemd/system/fetchml.service").exists()


def test_uninstall_and_status_without_a_service() -> None:
    assert run("service", "uninstall", "--yes").code == 5
    status = run("service", "status")
    assert status.code == 1
    assert "not installed" in status.out


def test_systemd_is_notified_of_ready_watchdog_and_stopping(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(SECONDS)
        variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"}
        server = Server(tmp_path / "data", **variables).start()
        assert systemd.recv(100) == b"READY=1"
        assert [systemd.recv(100) for _ in range(2)] == 2 * [b"WATCHDOG=1"]
        assert "NOTIFY_SOCKET" not in server.run("submit", "--wait", "--", "env").succeeded()
        server.process.send_signal(signal.SIGTERM)
        while (told := systemd.recv(100)) == b"WATCHDOG=1":
            pass
        assert told == b"STOPPING=1"
        assert server.wait() == 0
