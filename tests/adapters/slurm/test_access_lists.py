"""Who gets to the files of an attempt, as the kernel decides."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchml.adapters.slurm import access_lists, start_files
from fetchml.adapters.slurm.accounts import Account, Accounts
from fetchml.adapters.slurm.containers import Containers
from fetchml.adapters.slurm.job import Submission
from fetchml.files.kept_outputs import make_readable
from fetchml.files.layout import ARRAYS, SHIM
from fetchml.ports.launcher import LaunchSpec, Mount, NamedFolder, PrepareError, Secrets

ADA, BOB, EVE = 4321, 4322, 4323


def may(uid: int, *command: str | Path) -> bool:
    user = ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
    words = (*user, *map(str, command))
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.fixture
def shared() -> Iterator[Path]:
    """A shared folder below one that everybody may pass through."""
    top = Path(tempfile.mkdtemp(prefix="fetchml-acl-"))
    top.chmod(0o711)
    shared = top / "shared"
    for name in ("", ARRAYS, SHIM, "tasks", "datasets", "datasets/held"):
        (shared / name).mkdir(mode=0o700)
    (shared / SHIM / "x86_64").touch(0o700)
    access_lists.open_top(shared)
    yield shared
    shutil.rmtree(top)


def attempt_of(shared: Path, task_id: str) -> LaunchSpec:
    folder = shared / "tasks" / task_id / "attempts/1"
    for each in (*reversed(folder.parents[:2]), folder, folder / "control"):
        each.mkdir(mode=0o700)
    (folder / "start").write_text("x")
    (folder / "start").chmod(0o644)
    return LaunchSpec(task_id, 1, "job", folder, "", ("true",), {})


def test_only_the_account_gets_into_its_attempt(shared: Path) -> None:
    run = attempt_of(shared, "t1")
    start = run.folder / "start"
    assert not may(ADA, "cat", start)
    for _ in range(2):
        access_lists.admit(run, shared, ADA)
    assert may(ADA, "cat", start)
    assert not may(ADA, "touch", run.folder / "new")
    assert not may(ADA, "sh", "-c", f": >>{start}")
    assert not may(ADA, "ls", run.folder)
    assert not may(BOB, "cat", start)
    assert not may(ADA, "ls", shared)
    assert not may(ADA, "ls", shared / ARRAYS)
    assert may(ADA, "test", "-x", shared / SHIM / "x86_64")


def test_what_an_attempt_reads_is_open_to_its_account(shared: Path) -> None:
    first = attempt_of(shared, "t1")
    access_lists.admit(first, shared, ADA)
    task = shared / "tasks/t1"
    outputs, checkpoint = task / "outputs", task / "checkpoint"
    for folder in (outputs, checkpoint):
        folder.mkdir(mode=0o700)
        (folder / "file").write_text("x")
    make_readable(outputs)
    dataset = shared / "datasets/held/t2-1"
    dataset.mkdir(mode=0o700)
    (dataset / "0").write_text("x")
    (dataset / "0").chmod(0o444)
    mine = shared / "tasks/t2-checkpoint"
    mine.mkdir(mode=0o700)
    os.chown(mine, BOB, BOB)
    second = attempt_of(shared, "t2")
    reads = LaunchSpec(
        *("t2", 1, "job", second.folder, "", ("true",), {}),
        inputs=(Mount(outputs, "/inputs/job", read_only=True),),
        datasets=(Mount(dataset / "0", "/data/x", read_only=True),),
        named_folders=(NamedFolder("X", mine, "/checkpoint"),),
    )
    assert not may(BOB, "cat", outputs / "file")
    access_lists.admit(reads, shared, BOB)
    make_readable(outputs)  # For a third task: those who are admitted stay so.
    assert may(BOB, "cat", outputs / "file")
    assert may(BOB, "cat", dataset / "0")
    assert may(BOB, "touch", mine / "new")
    assert not may(BOB, "cat", checkpoint / "file")
    assert not may(BOB, "cat", first.folder / "start")
    assert may(ADA, "cat", first.folder / "start"), "a second account takes nothing from the first"
    assert not may(EVE, "cat", outputs / "file")
    assert not may(ADA, "cat", dataset / "0")


def test_link_in_the_place_of_a_folder_opens_nothing(shared: Path, tmp_path: Path) -> None:
    run = attempt_of(shared, "t1")
    shutil.rmtree(run.folder)
    tmp_path.chmod(0o700)
    run.folder.symlink_to(tmp_path)
    with pytest.raises(OSError, match="symbolic links"):
        access_lists.admit(run, shared, ADA)
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_files_of_another_account_are_refused(shared: Path) -> None:
    """The settings may have changed since the attempt was prepared."""
    accounts = Accounts({"ada": Account("ada", ADA, ADA)}, "root")
    run = attempt_of(shared, "t1")
    for user, owner in (("ada", (ADA, ADA)), ("bob", (0, 0))):
        accounts.require_owner(LaunchSpec(*_fields(run), user=user, owner=owner))
    with pytest.raises(PrepareError, match="belong to another account than ada"):
        accounts.require_owner(LaunchSpec(*_fields(run), user="ada", owner=(BOB, BOB)))


def _fields(run: LaunchSpec) -> tuple[str, int, str, Path, str, tuple[str, ...], dict[str, str]]:
    return run.task_id, run.attempt, run.job_name, run.folder, run.image, run.argv, run.env


def test_file_system_without_access_lists_is_reported(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    accounts = Accounts({"ada": Account("ada", ADA, ADA)}, "root")
    accounts.prepare_folder(shared)
    monkeypatch.setattr(os, "setxattr", no)
    with pytest.raises(OSError, match="no POSIX access lists"):
        accounts.prepare_folder(shared)
    Accounts().prepare_folder(shared)


@pytest.mark.parametrize("runtime", ["", "podman"])
def test_start_file_is_the_servers_and_the_rest_the_accounts(shared: Path, runtime: str) -> None:
    folder = shared / "tasks/t1/attempts/1"
    dataset = shared / "datasets/held/x"
    dataset.touch()
    run = LaunchSpec(
        *("t1", 1, "job", folder, "image:1", ("true",), {}),
        user="ada",
        owner=(ADA, ADA),
        datasets=(Mount(dataset, "/data/in/x", read_only=True),),
        secrets=Secrets(b""),
    )
    containers = Containers(runtime, (0, 0)) if runtime else None
    start_files.write(run, shared / SHIM, Submission("a", "", str(folder)), containers)
    access_lists.admit(run, shared, ADA)
    owners = {path.name: path.stat().st_uid for path in folder.iterdir()}
    ours = {"control", "start"} | ({"datasets"} if not runtime else set())
    assert {name for name, uid in owners.items() if uid == 0} == ours
    assert {uid for name, uid in owners.items() if name not in ours} == {ADA}
    assert may(ADA, "cat", folder / "start")
    assert may(ADA, "sh", "-c", f": >>{folder}/job.out; : >>{folder}/run/x; : >>{folder}/outputs/x")
    if runtime:
        assert "--user=4321:4321" in (folder / "start").read_text()
        assert "--userns=keep-id" in (folder / "start").read_text()
        assert may(ADA, "cat", folder / "environment")
    else:
        assert may(ADA, "readlink", folder / "datasets/in/x")
    assert not may(BOB, "cat", folder / "start")
