"""The client alone, as its package installs it; on macOS and Windows, simulated on Linux:
`sys.platform` has the other value, and the modules and calls that only Linux has, and the libraries
of the server, are absent.

What a simulation can't show: the other system's file names, consoles and wheels.
"""

import shutil
import sys
import tomllib
from pathlib import Path

import pytest

from fetchml.cli.main import COMMANDS, LINUX_ONLY
from tests.support.cli_server import Server, environment
from tests.support.commands import ran

ROOT = Path(__file__).parents[2]
ON_THE_SERVER = {"serve", "service", "backup", "restore", "doctor"}
SIMULATION = """
import asyncio, concurrent.futures, getpass, importlib.abc, logging.handlers
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
                raise AssertionError(name)
        else:
            main.fetchml.get_command(click.Context(main.fetchml), name)
for line in CALLED:
    print("$", *line, flush=True)  # behind what the last one wrote as bytes
    try:
        code = main.fetchml.main(line, prog_name="fetchml", standalone_mode=False)
    except SystemExit as end:
        code = end.code
    assert not code, (line, code)
    # A module that was imported only now is found where it should not be.
    assert not MISSING & sys.modules.keys(), MISSING & sys.modules.keys()
"""
TRAIN = """
import os
print("trained")
for name in ("model.bin", "metrics.json"):
    with open(os.path.join(os.environ["FETCHML_OUTPUTS"], name), "w") as file:
        file.write("{}")
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the client's package, for PYTHONPATH."""
    folder = tmp_path_factory.mktemp("client")
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    for name in build["only-include"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    return folder


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_client_commands_work_elsewhere(
    server: Server, client: Path, tmp_path: Path, platform: str
) -> None:
    """Each of them runs, from the login to the results."""
    key = server.run("keys", "create", f"of-{platform}").succeeded()
    code = tmp_path / "code"
    (code / "src").mkdir(parents=True)
    (code / "src" / "train.py").write_text(TRAIN)
    folder, results = str(code), str(tmp_path / "results")
    train = ("-n", "elsewhere", "--dir", folder)
    called = [
        ["login", server.grpc, "--name", "lab"],
        ["profiles"],
        ["submit", "--wait", *train, "--", "python3", "src/train.py"],
        ["submit", "--json", *train, "--environment", "none", "--", "true"],
        ["sweep", "create", "--dry-run", *train, "-p", "lr=0.1,0.2", "--", "true"],
        ["snapshot", "create", folder],
        ["watch", "@last"],
        ["show", "@last"],
        ["submit", "--wait", *train, "--", "python3", "src/train.py"],
        ["logs", "-f", "-t", "@last"],
        ["outputs", "@last", "--download", results],
        ["cp", "@last:model.bin", folder],
        ["ls", "--user", f"of-{platform}"],
        ["top"],
        ["gpus"],
        ["usage"],
        ["completion", "bash"],
        ["logout", "lab"],
        ["version"],
    ]
    given = f"PLATFORM, ON_THE_SERVER, CALLED = {platform!r}, {ON_THE_SERVER!r}, {called!r}\n"
    done = ran(
        [sys.executable, "-c", given + SIMULATION],
        input=key,
        cwd=tmp_path,
        env=environment(
            APPDATA=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path), PYTHONPATH=str(client)
        ),
    )
    assert done.returncode == 0, done.stderr
    said = dict(part.split("\n", 1) for part in done.stdout.split("$ ")[1:])
    assert server.grpc in said["profiles"]
    assert " trained\n" in said["logs -f -t @last"]
    assert said[f"ls --user of-{platform}"].count(" completed ") == 3
    assert sorted(path.name for path in Path(results).iterdir()) == ["metrics.json", "model.bin"]
    assert (code / "model.bin").read_text() == "{}"


def test_all_commands_of_the_server_exist() -> None:
    assert {name for section in COMMANDS.values() for name in section} >= ON_THE_SERVER


@pytest.mark.parametrize("command", [[name] for name in sorted(LINUX_ONLY)] + [["keys", "list"]])
def test_client_names_the_package_of_the_server(
    client: Path, tmp_path: Path, command: list[str]
) -> None:
    env = environment(PYTHONPATH=str(client), FETCHML_DATA_DIR=str(tmp_path))
    (tmp_path / "control.sock").touch()
    done = ran([sys.executable, "-m", "fetchml", *command], cwd=tmp_path, env=env)
    assert done.returncode == 1, done.stdout
    assert "needs the package fetchml-server, which is not installed" in done.stderr
    assert "fetchml[server]" in done.stderr
