"""A real Docker engine for tests: the one that answers here, or one started for them."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, DockerException
from docker.models.containers import Container

from testbed import debian
from testbed.patience import SECONDS

MANY_NETWORKS = {"default-address-pools": [{"base": "172.16.0.0/12", "size": 24}]}
"""Every data directory of a test has a network; by default an engine has addresses for 30."""


class Engine:
    """A Docker engine that answers at `host`, a value for DOCKER_HOST."""

    def __init__(self, host: str) -> None:
        self.host = host

    @cached_property
    def client(self) -> docker.DockerClient:
        """One client for the engine's whole life; it also outlives the engine's restarts."""
        return docker.DockerClient(base_url=self.host)

    def answers(self) -> bool:
        try:
            docker.DockerClient(base_url=self.host, timeout=SECONDS).close()
        except DockerException:
            return False
        return True

    def close(self) -> None:
        if "client" in self.__dict__:
            self.client.close()


class PrivateEngine(Engine):
    """An engine with folders and a socket of its own, to be stopped, killed and started at will.

    With `own_network` it lives in a network namespace of its own: it leaves the machine's
    bridges and rules alone, so that it may run beside another engine; but it reaches no
    address of the machine, and its containers' addresses are not reached from outside.
    """

    def __init__(
        self, folder: Path, *, own_network: bool, settings: Mapping[str, Any], path: Path | None
    ) -> None:
        super().__init__(f"unix://{folder}/sock")
        self._settings = settings
        self._path = path
        self.folder = folder
        self._own_network = own_network
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the engine and wait until it answers."""
        assert self._process is None, "the engine runs already"
        # Without a file the machine's own would be read.
        (self.folder / "daemon.json").write_text(json.dumps(self._settings))
        options = {
            "--config-file": "daemon.json",
            "--data-root": "data",
            "--exec-root": "exec",
            "--pidfile": "pid",
        }
        command = ["unshare", "--net"] if self._own_network else []
        command += ["dockerd", "--host", self.host]
        command += [f"{option}={self.folder / name}" for option, name in options.items()]
        first = [str(self._path)] if self._path else []
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"PATH": ":".join([*first, os.environ["PATH"]])},
                start_new_session=True,
            )
        self._guard = _end_with_these_tests(self._process.pid)
        deadline = time.monotonic() + SECONDS
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"dockerd did not start; its log ends with:\n{self._log_end()}")
            time.sleep(0.05)

    def inside(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command where the engine's network is."""
        assert self._process is not None, "the engine does not run"
        return subprocess.run(
            ["nsenter", "--net", f"--target={self._process.pid}", *command],
            capture_output=True,
            check=False,
            env=os.environ | variables,
            text=True,
        )

    def stop(self) -> None:
        """End the engine in good order; its containers end with it."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Crash the engine. Its containers live on until it starts again, which ends them."""
        self._end(signal.SIGKILL)
        # Its containerd dies with it, but looks alive to the next dockerd until this machine's
        # init reaps it, and that may take 10 s.
        (self.folder / "exec/containerd/containerd.pid").unlink()

    def remove_containers(self) -> None:
        """End and remove all containers, those that a killed engine left running too."""
        if self._process is None:
            self.start()
        for container in self.client.containers.list(all=True, ignore_removed=True):
            remove(container)

    def close(self) -> None:
        """End the engine and remove its mounts and files."""
        super().close()
        if self._process is not None:
            self.stop()
        for mount in reversed(self._mounts()):
            subprocess.run(["umount", "--lazy", mount], check=True)
        shutil.rmtree(self.folder)

    def _end(self, with_signal: signal.Signals) -> None:
        assert self._process is not None, "the engine does not run"
        assert self._guard is not None
        with self._guard as guard:
            guard.kill()
        self._process.send_signal(with_signal)
        self._process.wait(SECONDS)
        self._process = None

    def _mounts(self) -> list[str]:
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        return [path for path in mounted if path.startswith(f"{self.folder}/")]

    def _log_end(self) -> str:
        lines = (self.folder / "log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-15:])


def remove(container: Container) -> None:
    """End and remove a container, unless a server removes it or has done so."""
    try:
        container.remove(force=True)
    except APIError as error:
        if error.status_code not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
            raise


def _end_with_these_tests(pid: int) -> subprocess.Popen[bytes]:
    """Start what sends SIGTERM to a process when the tests end without having done so: killed."""
    # The pipe closes with this process. PR_SET_PDEATHSIG would look at the thread that starts
    # the engine instead, and a test may do that in a thread of its event loop.
    command = ["sh", "-c", 'read -r _; kill -TERM "$1"', "guard", str(pid)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


def existing_engine() -> Engine | None:
    """Find the engine that DOCKER_HOST names, or the machine's own, if it answers."""
    engine = Engine(os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock")
    return engine if engine.answers() else None


def why_no_private_engine() -> str | None:
    """Say what stands in the way of a private engine, or give None."""
    if os.geteuid() != 0:
        return "no Docker engine may be started here by a user who is not root"
    if shutil.which("dockerd") is None and shutil.which("apt-get") is None:
        return "dockerd is not installed, and there is no apt-get to install it"
    return None


def install_docker() -> None:
    """Install Debian's Docker engine where there is none, and a shell for images: beside another
    installation `examples/local_image.py` would make an image without."""
    if shutil.which("dockerd") is None:
        debian.install("docker.io")
    if shutil.which("busybox") is None and shutil.which("apt-get"):
        debian.install("busybox-static")


@contextmanager
def private_engine(
    *,
    own_network: bool,
    settings: Mapping[str, Any] | None = None,
    path: Path | None = None,
    parent: Path = Path("/tmp"),  # noqa: S108
) -> Iterator[PrivateEngine]:
    """Run a private engine; afterwards nothing of it is left on the machine.

    `settings` are those of daemon.json; programs are looked for in `path` first; its folder is in
    `parent`.
    """
    install_docker()
    # A short path: the engine's sockets lie below it, and a socket's path has 107 bytes at most.
    engine = PrivateEngine(
        Path(tempfile.mkdtemp(prefix="fml", dir=parent)),
        own_network=own_network,
        settings=MANY_NETWORKS | dict(settings or {}),
        path=path,
    )
    with nullcontext() if own_network else _forward_policy_kept():
        try:
            engine.start()
            try:
                yield engine
            finally:
                engine.remove_containers()
        finally:
            engine.close()


def forward_policy() -> str:
    """The machine's policy for packets that it forwards: ACCEPT or DROP."""
    rules = subprocess.run(
        ["iptables", "-S", "FORWARD"], check=True, capture_output=True, text=True
    ).stdout
    return rules.splitlines()[0].split()[-1]


@contextmanager
def _forward_policy_kept() -> Iterator[None]:
    """Put the machine's FORWARD policy back: an engine makes it DROP."""
    policy = forward_policy()
    try:
        yield
    finally:
        subprocess.run(["iptables", "-P", "FORWARD", policy], check=True)
