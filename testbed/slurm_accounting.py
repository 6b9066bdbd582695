"""The accounting of a private Slurm: MariaDB with a socket in its folder, and slurmdbd."""

import subprocess
from contextlib import suppress
from pathlib import Path

from testbed import debian

PACKAGES = (
    "slurmdbd",
    "mariadb-server-core",
    "mariadb-client-core",  # mariadb-install-db needs its my_print_defaults.
)
END_SECONDS = 10
SETTINGS = (
    "AccountingStorageType=accounting_storage/slurmdbd",
    "AccountingStorageHost=127.0.0.1",
    "AccountingStorageEnforce=associations,limits,qos",
    "PriorityType=priority/multifactor",
)
"""Lines of slurm.conf. Without PriorityType and its weights, fair share changes no priority."""
_CONF = """\
DbdHost=localhost
DbdPort={port}
SlurmUser=root
AuthType=auth/slurm
AuthAltTypes=auth/jwt
AuthAltParameters=jwt_key={etc}/jwt.key
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StoragePass=unused
StorageLoc=slurm
"""
_MADE = ("mariadb-install-db", "--no-defaults", "--user=root", "--skip-test-db")
_SMALL = ("--innodb-log-file-size=8M", "--innodb-buffer-pool-size=16M")


class Database:
    """MariaDB, which keeps nothing safe from a crash: that saves time."""

    def __init__(self, folder: Path) -> None:
        self._data = folder / "mariadb"
        self._log = folder / "log/mariadbd.log"
        self.socket = folder / "run/mariadb.sock"
        self._daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin to start it; see `is_ready`."""
        here = f"--datadir={self._data}"
        way_in = "--auth-root-authentication-method=normal"
        with self._log.open("ab") as log:
            subprocess.run([*_MADE, *_SMALL, here, way_in], check=True, stdout=log, stderr=log)
            self._daemon = subprocess.Popen(
                [
                    "mariadbd",
                    "--no-defaults",
                    "--user=root",
                    "--skip-networking",
                    "--skip-grant-tables",
                    *_SMALL,
                    "--innodb-flush-log-at-trx-commit=0",
                    here,
                    f"--socket={self.socket}",
                    f"--pid-file={self.socket.parent}/mariadb.pid",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def is_ready(self) -> bool:
        """Whether it answers, and has the database of slurmdbd, which fails if it has to create
        that itself (with libmariadb 3.4.10)."""
        create = "--execute=create database if not exists slurm"
        ask = ["mariadb", "--no-defaults", f"--socket={self.socket}", create]
        return subprocess.run(ask, capture_output=True, check=False).returncode == 0

    def end(self) -> None:
        if self._daemon is None:
            return
        self._daemon.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._daemon.wait(END_SECONDS)
        if self._daemon.poll() is None:
            self._daemon.kill()
            self._daemon.wait()


def slurmdbd_conf(folder: Path, port: int) -> str:
    """Return slurmdbd.conf of a cluster whose files are in `folder`."""
    return _CONF.format(port=port, etc=folder / "etc", folder=folder)


def install() -> None:
    debian.install(*PACKAGES)
