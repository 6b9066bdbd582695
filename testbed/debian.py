"""Programs that tests need and a bare machine has not, from Debian."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = Path("/run/fetchml-tests-apt.lock")


def install(*packages: str) -> None:
    """Those that are missing. Raises RuntimeError where they can't be had.

    One at a time on a machine: apt does not wait for another that reads the lists.
    """
    if not (missing := _missing(packages)):
        return
    names = " ".join(missing)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise RuntimeError(f"tests need what is not there: as root, apt-get install {names}")
    with no_installation():
        if missing := _missing(packages):
            apt = ("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120")
            _run(*apt, "update")
            _run(*apt, "install", "-y", "--no-install-recommends", *missing)


@contextmanager
def no_installation() -> Iterator[None]:
    """While no other process of the tests installs packages, which replaces programs and libraries
    that a test may be copying. Only root installs any."""
    if os.geteuid() != 0:
        yield
        return
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def program(name: str) -> str:
    """Of the package of that name, and its name. Raises RuntimeError where it can't be had."""
    if shutil.which(name) is None:
        install(name)
    return name


def _missing(packages: tuple[str, ...]) -> list[str]:
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", "--"]
    return [
        package
        for package in packages
        if subprocess.run([*query, package], capture_output=True, check=False).stdout
        != b"installed"
    ]


def _run(*command: str) -> None:
    done = subprocess.run(
        command,
        capture_output=True,
        check=False,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
