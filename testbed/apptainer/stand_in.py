"""A stand-in for Apptainer, for tests where the real one is not to be had. Needs root.

It takes `--version`, and `exec` with the options that FetchML uses as Apptainer documents them; it
rejects every other one. The image is a file `.sif` that is a squashfs. The command runs with it as
root, in a mount namespace of its own; signals are passed on to it, as Apptainer does for programs
without a terminal.
"""

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType

_CLONE_NEWNS = 0x20000
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_SESSION = "size=64m"
"""Size of what is in memory: `sessiondir max size` is 64 MiB by default."""
_PASSED_ON = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGCONT")


def main() -> int:
    if sys.argv[1:] == ["--version"]:
        print("apptainer version 0 (stand-in)")
        return 0
    if sys.argv[1:2] != ["exec"]:
        fail("the only command is exec")
    given = parse(sys.argv[2:])
    required = ("contain", "cleanenv", "no_home", "no_privs", "writable_tmpfs")
    if not all(getattr(given, name) for name in required):
        fail("an option is missing")
    child = os.fork()
    if child == 0:
        run(given)

    def pass_on(number: int, _: FrameType | None) -> None:
        os.kill(child, number)

    for name in _PASSED_ON:
        signal.signal(getattr(signal, name), pass_on)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="apptainer exec", allow_abbrev=False)
    for flag in ("contain", "cleanenv", "no-home", "no-privs", "writable-tmpfs", "nv"):
        parser.add_argument(f"--{flag}", action="store_true")
    parser.add_argument("--pwd", required=True)
    parser.add_argument("--bind", action="append", default=[])
    parser.add_argument("--env", action="append", default=[])
    parser.add_argument("image")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args(words)


def run(given: argparse.Namespace) -> None:
    """Become the command within the image."""
    if not (given.image.startswith("/") and given.image.endswith(".sif")):
        fail(f"Unable to handle {given.image} uri: no registry here")
    if not Path(given.image).exists():
        why = f"failed to retrieve path for {given.image}: lstat {given.image}: no such file"
        fail(f"could not open image {given.image}: {why} or directory")
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) != 0:
        fail(f"no mount namespace: {os.strerror(ctypes.get_errno())}")
    call("mount", "--make-rslave", "/")
    root = tempfile.mkdtemp()
    call("mount", "-t", "tmpfs", "tmpfs", root)
    call("unsquashfs", "-no-progress", "-quiet", "-force", "-dest", root, given.image)
    for path in ("/proc", "/sys"):
        bind(root, path, path)
    for path in ("/dev", "/dev/shm", "/tmp", "/var/tmp"):  # noqa: S108 - in the container
        Path(root + path).mkdir(parents=True, exist_ok=True)
        mode = "mode=755" if path == "/dev" else "mode=1777"
        call("mount", "-t", "tmpfs", "-o", f"{mode},{_SESSION}", "tmpfs", root + path)
    Path(root, "dev/pts").mkdir()
    options = "newinstance,ptmxmode=0666,mode=620"
    call("mount", "-t", "devpts", "-o", options, "devpts", f"{root}/dev/pts")
    Path(root, "dev/ptmx").symlink_to("pts/ptmx")
    for device in _DEVICES:
        bind(root, f"/dev/{device}", f"/dev/{device}")
    for each in given.bind:
        source, target, *options = each.split(":")
        if options not in ([], ["ro"], ["rw"]):
            fail(f"while parsing bind path: {each}")
        bind(root, source, target, *options)
    variables = {"PATH": "/usr/local/bin:/usr/bin:/bin", "APPTAINER_CONTAINER": given.image}
    of_image = Path(root, ".singularity.d/env/90-environment.sh")
    lines = of_image.read_text().splitlines() if of_image.exists() else []
    for entry in (*(line.removeprefix("export ") for line in lines), *given.env):
        name, equals, value = entry.partition("=")
        if not equals:
            fail(f"{entry} must be formatted as key=value")
        variables[name] = value
    os.chroot(root)
    drop_privileges()
    os.chdir(given.pwd)
    os.execvpe(given.command[0], given.command, variables)  # noqa: S606 - as it documents


def drop_privileges() -> None:
    """Let the command have no capabilities, although it is root's."""
    prctl = ctypes.CDLL(None).prctl
    for number in range(64):
        prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def bind(root: str, source: str, target: str, *options: str) -> None:
    place = Path(root + target)
    if Path(source).is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    call("mount", "--rbind", source, str(place))
    if options == ("ro",):
        call("mount", "-o", "remount,bind,ro", str(place))


def call(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        fail(f"{command[0]}: {done.stderr.strip()}")


def fail(why: str) -> None:
    print(f"FATAL:   {why}", file=sys.stderr, flush=True)
    os._exit(255)


if __name__ == "__main__":
    sys.exit(main())
