"""Passports: a task of one server runs on another, and a hostile file does no harm."""

import base64
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reproduce.conftest import finished
from tests.support.cli_server import Ran, Server


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has nothing."""
    started = Server(tmp_path_factory.mktemp("other") / "data").start()
    yield started
    assert started.stop() == 0


def submit(server: Server, folder: Path, passport: Any, *options: str) -> Ran:
    file = folder / "run.json"
    file.write_text(passport if isinstance(passport, str) else json.dumps(passport))
    return server.run("submit", "--wait", "--passport", str(file), *options)


def test_task_runs_on_another_server(
    server: Server, other: Server, code: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "token"
    secret.write_text("hidden-value")
    server.run("secret", "set", "TOKEN", "--file", str(secret)).succeeded()
    needs = ("--dataset", "digits", "-e", "SEED=hidden-seed", "--secret", "TOKEN:file")
    task = finished(server, "--dir", str(code), *needs, "--", "python3", "train.py", "3")
    plain = server.run("passport", task).succeeded()
    assert "hidden-" not in plain
    lacking = submit(other, tmp_path, plain).err
    for each in ("dataset digits", "variable SEED", "--secret TOKEN:file", "--with-code"):
        assert each in lacking

    passport = json.loads(server.run("passport", task, "--with-code").succeeded())
    assert passport["ran_with"]["host"]
    del passport["task"]["datasets"], passport["task"]["secrets"]
    done = submit(other, tmp_path, passport, "-e", "SEED=5", "--name", "again")
    assert done.code == 0, done.err
    assert done.out == "3.0 None 5 []\n"
    shown = other.json("show", "@last")
    assert shown["job_name"] == "again"
    assert shown["snapshot_id"] == passport["task"]["snapshot_id"]


def escaping() -> str:
    """Code that would be written outside of its folder."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../../outside"))
    return base64.b64encode(packed.getvalue()).decode()


TASK = {"job_name": "a", "command": ["true"]}
VALID = {"format": "fetchml-passport-1", "task": TASK}
HOSTILE = {
    "not JSON": "{",
    "deep": "[" * 100_000,
    "a list": [],
    "another format": {**VALID, "format": "fetchml-passport-9"},
    "no task": {"format": "fetchml-passport-1"},
    "task of another kind": {**VALID, "task": 3},
    "field of another kind": {**VALID, "task": {**TASK, "gpu": {"a": 1}}},
    "number too large": {**VALID, "task": {**TASK, "gpu": 1e300}},
    "names of another kind": {**VALID, "variables": [1]},
    "code of another kind": {**VALID, "code": 1},
    "code that is not base64": {**VALID, "code": "\x1b[31m"},
}


@pytest.mark.parametrize("passport", HOSTILE.values(), ids=HOSTILE)
def test_invalid_file(other: Server, tmp_path: Path, passport: Any) -> None:
    assert "is not a valid passport" in submit(other, tmp_path, passport).failed(125)


def test_code_of_another_snapshot(other: Server, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("other.py"))
    task = {**TASK, "snapshot_id": "0" * 64}
    swapped = {**VALID, "task": task, "code": base64.b64encode(packed.getvalue()).decode()}
    assert "not the snapshot that it names" in submit(other, tmp_path, swapped).failed(125)
    outside = {**VALID, "task": task, "code": escaping()}
    assert submit(other, tmp_path, outside).code == 125
    assert not (tmp_path.parent / "outside").exists()


def test_passport_grants_nothing(other: Server, tmp_path: Path) -> None:
    """Its code is somebody else's: secrets, volumes and webhooks are for the submitter to grant."""
    (tmp_path / "token").write_text("value")
    other.run("secret", "set", "TOKEN", "--file", str(tmp_path / "token")).succeeded()
    wanted = {
        "secrets": [{"name": "TOKEN", "as": "env"}],
        "notify": [{"url": "https://collector.example/"}],
        "hold": True,
        "validate_only": True,
    }
    refused = submit(other, tmp_path, {**VALID, "task": {**TASK, **wanted}})
    assert "--secret TOKEN:env" in refused.failed(125)
    granted = submit(other, tmp_path, {**VALID, "task": {**TASK, **wanted}}, "--secret", "TOKEN")
    assert granted.code == 0, granted.err
    assert "notify" not in other.json("show", "@last")
