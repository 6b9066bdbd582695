"""Slurm's commands on another host, through OpenSSH."""

import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence

NO_CONNECTION = 255
"""Exit code of ssh itself."""
_KEEP_SECONDS = 60
_CONNECT_SECONDS = 10


class SshHost:
    """Runs each command over one connection, which is kept for a minute."""

    def __init__(self, host: str, limit_seconds: float) -> None:
        """`limit_seconds`: a command ends by itself after it, also if the connection is cut."""
        self.host = host
        self._limit_seconds = limit_seconds
        self._folder = tempfile.mkdtemp(prefix="fetchml-ssh-")
        """Of the socket of the connection, whose path must be short."""

    def wrap(self, command: Sequence[str], variables: Mapping[str, str]) -> list[str]:
        """The local command that runs `command` there. The host's shell splits it again."""
        set_there = [f"{name}={value}" for name, value in variables.items()]
        there = ["env", *set_there, "timeout", f"{self._limit_seconds:g}", *command]
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": str(_CONNECT_SECONDS),
            "ServerAliveInterval": "5",
            "ControlMaster": "auto",
            "ControlPath": f"{self._folder}/%C",
            "ControlPersist": str(_KEEP_SECONDS),
        }
        given = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", *given, "--", self.host, shlex.join(there)]

    def close(self) -> None:
        """The connection ends by itself."""
        shutil.rmtree(self._folder, ignore_errors=True)
