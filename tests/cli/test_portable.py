"""Client commands on macOS and Windows, simulated: no module and no call that only Linux has."""

import subprocess
import sys

import pytest

from fetchml.cli.main import COMMANDS
from tests.support.cli_server import SECONDS, Server, environment

ON_THE_SERVER = {"serve", "service", "backup", "restore", "doctor"}
SIMULATION = """
import asyncio, concurrent.futures, getpass, importlib, importlib.abc, logging.handlers
import multiprocessing, os, shutil, signal, ssl, subprocess, sys, tarfile, tempfile, urllib.request
import webbrowser, zoneinfo
import click, click.shell_completion, grpc, msgspec, pathspec, rich.live, rich.progress, rich.table
import google.api.annotations_pb2, google.rpc.error_details_pb2, grpc_health.v1.health_pb2
import grpc_status.rpc_status
try:
    import textual.app, textual.widgets
except ImportError:
    pass

MISSING = {
    "fcntl", "pwd", "grp", "resource", "termios", "pty", "tty", "uvloop", "asyncinotify", "syslog",
    "aiohttp", "docker", "duckdb", "pynvml", "prometheus_client", "yaml",
}

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
for name in MISSING:
    sys.modules.pop(name, None)
CALLS = {
    os: "geteuid getuid O_NOFOLLOW O_CLOEXEC O_DIRECTORY O_PATH O_NONBLOCK fork killpg setsid",
    signal: "SIGHUP SIGUSR1 SIGUSR2 SIGCHLD SIGWINCH pthread_sigmask",
}
for module, names in CALLS.items():
    for name in names.split():
        if PLATFORM == "win32" or name in {"O_PATH"}:
            delattr(module, name)
sys.platform = PLATFORM

from fetchml.cli import main

for section in main.COMMANDS.values():
    for name in section:
        if name in ON_THE_SERVER:
            try:
                main.fetchml.get_command(click.Context(main.fetchml), name)
            except click.ClickException as error:
                assert "runs on Linux only" in error.message, error.message
        else:
            importlib.import_module(f"fetchml.cli.{name.replace('-', '_')}")
for line in CALLED:
    main.fetchml.main(line, prog_name="fetchml", standalone_mode=False)
"""


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_client_commands_work_elsewhere(server: Server, platform: str) -> None:
    key = server.run("keys", "create", f"of-{platform}").succeeded()
    called = [
        ["submit", "-n", "elsewhere", "--", "true"],
        ["ls", "--name", "elsewhere"],
        ["profiles"],
        ["version"],
    ]
    given = f"PLATFORM, ON_THE_SERVER, CALLED = {platform!r}, {ON_THE_SERVER!r}, {called!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", given + SIMULATION],
        capture_output=True,
        check=False,
        env=environment(FETCHML_SERVER=server.grpc, FETCHML_API_KEY=key, APPDATA="/nonexistent"),
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert "elsewhere" in done.stdout


def test_all_commands_of_the_server_exist() -> None:
    assert {name for section in COMMANDS.values() for name in section} >= ON_THE_SERVER
