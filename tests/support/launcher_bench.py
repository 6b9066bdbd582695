"""A data directory with launchers on it, as one server after another would have them."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fetchml.core.model import AttemptEnd
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.folder_events import FolderEvents
from fetchml.files.shared_disk import SharedFolders
from fetchml.ports.launcher import Launcher, LaunchSpec
from tests.support.waiting import soon

PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""Of the tests. All processes share an engine, and an instance removes its containers there."""
INSTANCE = f"0198c0de-{PROCESS:04}-7000-8000-000000000000"


def silent(_: str) -> None:
    """Progress that nobody wants to hear of."""


def end_of(run: LaunchSpec) -> AttemptEnd:
    """The end that the attempt's shim has recorded."""
    end = AttemptFolder(run.folder).end()
    assert end is not None
    return end


class Bench:
    def __init__(
        self, data_dir: Path, image: str, watch: FolderEvents, make: Callable[[], Launcher]
    ) -> None:
        self.data_dir = data_dir
        self.image = image
        self.watch = watch
        self._make = make
        self._opened: list[Launcher] = []
        self._runs: list[LaunchSpec] = []

    async def open(self) -> Launcher:
        """The launcher of one more server on this data directory."""
        launcher = self._make()
        available: list[bool] = []
        self._opened.append(launcher)
        await launcher.open(INSTANCE, lambda is_available, _: available.append(is_available))
        assert available == [True]
        return launcher

    def run(self, *argv: str, **options: Any) -> LaunchSpec:
        """One attempt of a task of its own."""
        task_id = f"0198c0de-{PROCESS:04}-7000-8000-{len(self._runs):012}"
        env = {"FETCHML_TASK_ID": task_id} | options.pop("env", {})
        run = LaunchSpec(
            task_id=task_id,
            attempt=1,
            job_name="job",
            folder=self.data_dir / "tasks" / task_id / "attempts/1",
            image=options.pop("image", self.image),
            argv=argv,
            env=env,
            **options,
        )
        self._runs.append(run)
        return run

    async def start(self, launcher: Launcher, run: LaunchSpec) -> AttemptFolder:
        await soon(launcher.prepare(run, silent))
        folder = AttemptFolder(run.folder)
        folder.open_gate()
        return folder

    async def until_log(self, run: LaunchSpec, text: bytes) -> None:
        """Return when the task has written `text`."""
        folder = AttemptFolder(run.folder)
        async with self.watch.subscribe(folder.run, writes=True) as changes:
            while text not in folder.tail():
                await soon(changes.wait())

    async def close(self) -> None:
        last = self._make()
        self._opened.append(last)
        await last.open(INSTANCE, lambda _, __: None)
        await last.clean(frozenset())
        for launcher in self._opened:
            await launcher.close()


@asynccontextmanager
async def bench(
    data_dir: Path, image: str, make: Callable[[FolderEvents], Launcher]
) -> AsyncIterator[Bench]:
    """Afterwards nothing that was started runs any more."""
    async with FolderEvents() as watch:
        opened = Bench(data_dir, image, watch, lambda: make(watch))
        try:
            yield opened
        finally:
            await opened.close()


@asynccontextmanager
async def polled_bench(
    shared_dir: Path, make: Callable[[SharedFolders], Launcher]
) -> AsyncIterator[Bench]:
    """As `bench`, on a folder that other machines write to. Attempts have no image."""
    watch = SharedFolders()
    opened = Bench(shared_dir, "", watch, lambda: make(watch))
    try:
        yield opened
    finally:
        await opened.close()
