"""The release's Debian package on bare Debian 11 and 12. `make test-release` names this file."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from build.debian import package
from tests.executable.bare_debians import Server
from tests.support.cli_server import environment
from tests.support.commands import ran

APT_SECONDS = 300
CONFIG, UNIT = "etc/fetchml/fetchml.toml", "usr/lib/systemd/system/fetchml.service"
PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}


class Machine:
    """A Debian without systemd as its first process; its network is this machine's."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def inside(self, *command: str) -> list[str]:
        script = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
        return ["unshare", "--mount", "sh", "-c", script, str(self.root), *command]

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = ran(self.inside(*command), env=environment(**PATH), timeout=APT_SECONDS)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def apt(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("apt-get", "-qq", "-y", "--no-install-recommends", *arguments, check=check)

    def add(self, deb: Path) -> str:
        """Copy a package to the machine, and return its path there."""
        shutil.copy(deb, self.root / deb.name)
        return f"/{deb.name}"

    def serve(self) -> Server:
        """Run what the unit runs, as its user."""
        [line] = [
            line for line in (self.root / UNIT).read_text().splitlines() if "ExecStart=" in line
        ]
        as_user = (
            "install -d -m 700 -o fetchml -g fetchml /var/lib/fetchml && "
            'exec setpriv --reuid fetchml --regid fetchml --init-groups "$@"'
        )
        command = line.removeprefix("ExecStart=").split()
        return Server(self.inside("sh", "-c", as_user, "sh", *command), TMPDIR="/tmp")  # noqa: S108


@pytest.fixture
def machine(debian: Path, tmp_path: Path) -> Iterator[Machine]:
    """A copy, because packages stay installed."""
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", "--reflink=auto", debian, root], check=True)
    (root / "fetchml").unlink()
    yield Machine(root)
    shutil.rmtree(root)


def test_is_installed_upgraded_and_removed(
    machine: Machine, portable: Path, tmp_path: Path
) -> None:
    older = machine.add(package.build(portable, tmp_path, "0.0.1"))
    newer = machine.add(package.build(portable, tmp_path))
    machine.apt("update")
    machine.apt("install", older)
    assert "fetchml" in machine.run("id", "-nG", "fetchml").stdout.split()
    assert "docker" in machine.run("id", "-nG", "fetchml").stdout.split()
    enabled = machine.root / "etc/systemd/system/multi-user.target.wants/fetchml.service"
    assert enabled.is_symlink()
    refused = machine.run("fetchml", "service", "install", "--dry-run", check=False)
    assert "Change /etc/fetchml/fetchml.toml" in refused.stderr

    config = machine.root / CONFIG
    text = config.read_text()
    assert '\n#launcher = "docker"\n' in text
    own = '[server]\nlauncher = "process"\nhttp = "127.0.0.1:0"\ngrpc = "127.0.0.1:0"\n'
    config.write_text(own)
    server = machine.serve()
    task = server.submit("id", "-un")
    assert server.log(task) == b"fetchml\n"
    assert server.end(signal.SIGTERM) == 0

    machine.apt("install", newer)
    assert config.read_text() == own
    assert machine.run("dpkg-query", "-W", "-f", "${Version}", "fetchml").stdout != "0.0.1"
    server = machine.serve()
    assert server.log(task) == b"fetchml\n"
    assert server.end(signal.SIGTERM) == 0

    machine.apt("remove", "fetchml")
    assert not (machine.root / UNIT).exists()
    assert not (machine.root / "usr/bin/fetchml").exists()
    assert not enabled.is_symlink()
    assert config.exists()
    assert "/var/lib/fetchml" in machine.apt("purge", "fetchml").stderr
    assert not config.exists()
    assert (machine.root / "var/lib/fetchml/store/fetchml.duckdb").exists()


def test_service_of_the_executable_is_not_hidden(
    machine: Machine, portable: Path, tmp_path: Path
) -> None:
    deb = machine.add(package.build(portable, tmp_path))
    unit = machine.root / "etc/systemd/system/fetchml.service"
    unit.write_text("[Service]\n")
    machine.apt("update")
    refused = machine.apt("install", deb, check=False)
    assert refused.returncode != 0
    assert "fetchml service uninstall" in refused.stdout + refused.stderr
    assert not (machine.root / "usr/bin/fetchml").exists()
