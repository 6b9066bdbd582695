"""`fetchml storage` and `fetchml prune`."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli_server import FETCHML, Server, environment
from tests.support.commands import ran
from tests.support.waiting import wait_until


@pytest.fixture
def ended(own_server: Server) -> tuple[Server, str]:
    """A server with one ended task, and the task's id."""
    own_server.start()
    made = own_server.run("submit", "--wait", "--", "sh", "-c", "echo x > $FETCHML_OUTPUTS/x")
    made.succeeded()
    [task] = own_server.json("ls")["tasks"]
    return own_server, str(task["id"])


def test_storage_table_and_json(ended: tuple[Server, str]) -> None:
    server, _ = ended
    told = server.run("storage").succeeded()
    assert told.split("\n")[0].split()[:2] == ["USER", "ALL"]
    assert "Limit for each user: " in told
    [user] = server.json("storage")["users"]
    kinds = {each["kind"]: int(each.get("bytes", 0)) for each in user["kinds"]}
    assert kinds.keys() == {
        "snapshots",
        "workspaces",
        "outputs",
        "logs",
        "jupyter",
        "environments",
        "artifacts",
    }
    assert sum(kinds.values()) == int(user["bytes"]) > 0


def with_volumes(folder: Path) -> Path:
    """Settings with a volume that has a limit, one that has none, and one of another user."""
    disk = folder / "disk"
    disk.mkdir()
    (disk / "file").write_bytes(bytes(5 << 20))
    settings = f"[volumes.scratch]\npath = '{disk}'\nmode = 'rw'\nmax_gb = 2\n"
    settings += f"[volumes.models]\npath = '{disk}'\n"
    settings += f"[volumes.adas]\npath = '{disk}'\nusers = ['ada']\n"
    file = folder / "fetchml.toml"
    file.write_text(settings)
    return file


@pytest.fixture
def volumes_server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "data", "--config", str(with_volumes(tmp_path))).start()
    yield server
    assert server.stop() == 0


def test_volumes_below_the_users(volumes_server: Server) -> None:
    server = volumes_server
    found: list[Any] = wait_until(lambda: measured(server.json("storage")["volumes"]))
    scratch, models = found
    assert int(scratch.pop("bytes")) in range(5 << 20, 6 << 20)
    limits = {"max_bytes": 2 << 30, "files": 1}
    assert scratch == {"name": "scratch", "read_only": False, **limits}
    assert models == {"name": "models", "read_only": True}
    told = server.run("storage").succeeded().split("\n")
    at = next(number for number, line in enumerate(told) if line.startswith("VOLUME"))
    assert [line.split() for line in told[at + 1 :]] == [
        ["scratch", "rw", "5.0", "MiB", "2.0", "GiB", "1"],
        ["models", "ro", "-", "-", "-"],
    ]


def measured(volumes: list[Any]) -> list[Any]:
    return volumes if "bytes" in volumes[0] else []


def answer(server: Server, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return ran([*FETCHML, "prune", *arguments], input=text, env=environment(**server.variables))


@pytest.mark.slow
def test_prune_asks_before_it_removes(ended: tuple[Server, str]) -> None:
    server, task_id = ended
    refused = answer(server, "n\n", "--older-than", "0s")
    assert "To be removed: 1 task" in refused.stdout
    assert refused.returncode != 0
    nobody = answer(server, "", "--older-than", "0s")
    assert nobody.returncode != 0, "without an answer it removes nothing"
    assert server.run("show", task_id).code == 0
    agreed = answer(server, "y\n", "--older-than", "0s")
    assert "Removed: 1 task" in agreed.stdout
    assert server.run("show", task_id).code == 5


def test_prune_in_json_requires_yes_or_dry_run(ended: tuple[Server, str]) -> None:
    server, task_id = ended
    wants = ("prune", "--older-than", "0s", "--kind", "outputs")
    assert "--dry-run" in server.run(*wants, "--json").failed(2)
    counted: Any = server.json(*wants, "--dry-run")
    assert counted["outputs"] == 1
    removed = server.json(*wants, "--yes")
    assert (removed["outputs"], removed["bytes"]) == (1, counted["bytes"])
    assert server.run("show", task_id).code == 0
    assert server.run("prune").code == 2
    assert server.run("prune", "--older-than", "1d", "--kind", "keys").code == 2
