"""Records of workspaces at a server's start, when their disk may be away."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fetchml.core.model import Principal, Role
from fetchml.files.storage_usage import StorageUsage
from fetchml.files.task_users import SharedOwner
from fetchml.jupyter.workspaces import Workspace, WorkspaceRefused, Workspaces
from tests.support.memory_store import MemoryStore

ADA, BEN = Principal("ada", Role.USER, "key-a"), Principal("ben", Role.USER, "key-b")
ADMIN = Principal("root", Role.ADMIN, "key-r")


def workspaces(store: Any, root: Path, **how: Any) -> Workspaces:
    return Workspaces(store, root, SharedOwner(None), StorageUsage(0), **how)


@pytest.fixture
async def store(tmp_path: Path) -> Any:
    """With the records of two workspaces, whose folders exist."""
    store: Any = MemoryStore()
    first = workspaces(store, tmp_path / "root")
    await first.load({})
    for folder in ("kept", "gone"):
        await first.claim(folder, ADA)
    return store


async def known(store: Any, root: Path, **how: Any) -> frozenset[str]:
    found = workspaces(store, root, **how)
    await found.load({})
    return found._records.ids()


async def test_workspace_that_was_removed_is_forgotten(store: Any, tmp_path: Path) -> None:
    (tmp_path / "root/gone").rmdir()
    assert await known(store, tmp_path / "root") == {"kept"}


async def test_none_is_forgotten_while_its_disk_is_not_mounted(store: Any, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.rename(tmp_path / "away")
    assert await known(store, root) == {"kept", "gone"}
    root.mkdir()
    assert await known(store, root) == {"kept", "gone"}


async def test_none_is_forgotten_while_its_disk_fails(store: Any, tmp_path: Path) -> None:
    calls = 0

    async def fails_later(function: Callable[[], Any]) -> Any:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise TimeoutError("no response from the shared folder")
        return await asyncio.to_thread(function)

    assert await known(store, tmp_path / "root", in_thread=fails_later) == {"kept", "gone"}


async def test_workspace_belongs_to_the_user_who_named_it_first(tmp_path: Path) -> None:
    store: Any = MemoryStore()
    for _ in range(2):  # The next server knows it too.
        found = workspaces(store, tmp_path / "root", shared=("shared/*", "team/*", "open/*"))
        await found.load({})
        for folder in ("notes", "shared/notes"):
            await found.claim(folder, ADA)
            await found.claim(folder, ADMIN)
        with pytest.raises(
            WorkspaceRefused, match=r"'notes' belongs to ada.*shared/\* and team/\* and open"
        ):
            await found.claim("notes", BEN)
        await found.claim("shared/notes", BEN)
        await found.claim("team/a/b", BEN)
        with pytest.raises(WorkspaceRefused, match="is the folder of workspaces that are shared"):
            await found.claim("open", BEN)


@pytest.mark.parametrize("is_live", [False, True])
async def test_workspace_of_an_older_release_goes_to_its_user(
    tmp_path: Path, *, is_live: bool
) -> None:
    """The record has no user, or there is none and a service of the user lives."""
    store: Any = MemoryStore()
    usage = StorageUsage(0)
    (tmp_path / "root/old").mkdir(parents=True)
    (tmp_path / "root/old/file").write_bytes(bytes(1 << 16))
    if not is_live:
        earlier = workspaces(store, tmp_path / "root")
        await earlier.load({})
        await earlier._records.put(Workspace("old", bytes=1 << 16, files=1))
    for _ in range(2):
        usage = StorageUsage(0)
        found = Workspaces(store, tmp_path / "root", SharedOwner(None), usage)
        await found.load({"old": "ada"} if is_live else {})
        await found.claim("old", ADMIN)  # An admin who looks at it does not take it.
        await found.claim("old", ADA)
        with pytest.raises(WorkspaceRefused, match="belongs to ada"):
            await found.claim("old", BEN)
    await found.measure("old")
    assert usage.of("ada").total.bytes >= 1 << 16
