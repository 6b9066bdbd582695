"""Records of workspaces at a server's start, when their disk may be away."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fetchml.files.storage.usage import StorageUsage
from fetchml.files.task_users import SharedOwner
from fetchml.jupyter.workspaces import Workspaces
from tests.support.memory_store import MemoryStore


def workspaces(store: Any, root: Path, **how: Any) -> Workspaces:
    return Workspaces(store, root, SharedOwner(None), StorageUsage(0), **how)


@pytest.fixture
async def store(tmp_path: Path) -> Any:
    """With the records of two workspaces, whose folders exist."""
    store: Any = MemoryStore()
    first = workspaces(store, tmp_path / "root")
    await first.load(frozenset())
    for folder in ("kept", "gone"):
        await first.claim(folder, "ada")
    return store


async def known(store: Any, root: Path, **how: Any) -> frozenset[str]:
    found = workspaces(store, root, **how)
    await found.load(frozenset())
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
            raise TimeoutError("the shared disk does not answer")
        return await asyncio.to_thread(function)

    assert await known(store, tmp_path / "root", in_thread=fails_later) == {"kept", "gone"}
