"""Environments whose builder is steered by the test."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from fetchml.core.model import Environment, Task
from fetchml.environments.builds import Builds
from fetchml.environments.cache import EnvironmentCache
from fetchml.environments.environment_service import BuilderSettings, Environments
from fetchml.environments.sources import EnvironmentSources
from fetchml.files.storage_usage import StorageUsage
from fetchml.ports.environment_builder import ENVIRONMENT, Build, Platform
from fetchml.snapshots.files import SnapshotFiles
from fetchml.snapshots.unpack import UnpackLimits
from tests.support import tasks
from tests.support.archives import file, packed
from tests.support.waiting import soon

OWNER = (os.geteuid(), os.getegid())


class Builder:
    """`EnvironmentBuilder` whose builds go on when the test says so."""

    mount_path: str | None = "/environment"
    has_network = True

    def __init__(self) -> None:
        self.began: list[Build] = []
        self.ended = 0
        self.go = asyncio.Event()
        self.go.set()
        self.failure: Exception | None = None
        self.image = "image 1"
        self.line = "Resolved 1 package"
        """Of the output."""
        self.content = "installed"
        self.cached_bytes = 0
        """Written to uv's cache."""
        self.files = 0
        """More files of the environment."""
        self.earlier = asyncio.Event()
        """Builds of an earlier server have ended."""

    async def open(self, instance_id: str) -> None:
        pass

    async def earlier_ended(self) -> None:
        await self.earlier.wait()

    async def platform(self, image: str, progress: Callable[[str], None]) -> Platform:
        return Platform(self.image, "/usr/bin")

    async def build(self, build: Build, progress: Callable[[str], None]) -> None:
        self.began.append(build)
        progress(self.line)
        try:
            (build.cache / f"{build.name}.whl").write_bytes(b"0" * self.cached_bytes)
            for number in range(self.files):
                (build.folder / ENVIRONMENT / str(number)).touch()
            await self.go.wait()
            if self.failure is not None:
                raise self.failure
            (build.folder / ENVIRONMENT / "file").write_text(self.content)
        finally:
            self.ended += 1

    async def close(self) -> None:
        pass


class Bench:
    def __init__(self, folder: Path, *, most_bytes: int = 1 << 40) -> None:
        self.folder = folder
        self.builder = Builder()
        self.usage = StorageUsage(0)
        self.snapshots = SnapshotFiles(folder)
        self.snapshots.open(frozenset())
        self.cache = EnvironmentCache(folder / "environments", most_bytes=most_bytes)
        self.builds = Builds(
            self.builder, self.cache, self.snapshots, min_free_bytes=0, clock=lambda: 1
        )
        uv = folder / "uv"
        uv.write_text("#!/bin/sh\necho uv 1\n")
        uv.chmod(0o755)
        self.environments = Environments(
            EnvironmentSources(self.snapshots),
            self.cache,
            self.builds,
            BuilderSettings(self.builder, uv, "", None),
            usage=self.usage,
        )

    def snapshot(self, **files: bytes) -> str:
        new = self.snapshots.begin()
        new.archive.write_bytes(
            packed(*(file(name.replace("_", "."), data) for name, data in files.items()))
        )
        snapshot_id = new.unpack(UnpackLimits(1 << 22, 100), lambda: None)
        self.snapshots.keep(new, snapshot_id)
        return snapshot_id

    def task(self, name: str, snapshot_id: str, *, user: str = "bob") -> Task:
        environment = Environment(requirements="requirements.txt")
        return tasks.task(
            name, user=user, attempt=1, snapshot_id=snapshot_id, environment=environment
        )

    async def provide(self, task: Task) -> str:
        """Return the content of the environment that the task gets."""
        told: list[str] = []
        found = await soon(self.environments.provide(task, OWNER, told.append))
        [mount] = found.mounts
        assert (mount.target, mount.read_only) == ("/environment", True)
        assert found.variables == {
            "VIRTUAL_ENV": "/environment",
            "PATH": "/environment/bin:/usr/bin",
        }
        return (mount.source / "file").read_text()
