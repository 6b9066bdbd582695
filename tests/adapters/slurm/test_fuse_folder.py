"""The conformance suite on a shared folder behind FUSE, which each node mounts for itself."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fetchml.ports.launcher import Launcher
from testbed.fuse_folder import fuse_folders
from testbed.slurm import NODES, Slurm
from tests.adapters.slurm.test_launcher import TestSlurmLauncher as OnOneDisk
from tests.support.launcher_bench import Bench, polled_bench
from tests.support.slurm_fixtures import launcher_on
from tests.support.waiting import soon

pytestmark = pytest.mark.slow


class TestFuseFolder(OnOneDisk):
    @pytest.fixture(params=["rest"])
    def transport_name(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    async def bench(
        self, tmp_path: Path, commands: Slurm, transport_name: str
    ) -> AsyncIterator[Bench]:
        shared = tmp_path / "shared"
        self.slurm = commands
        nodes = [commands.inside(name) for name in NODES]
        with fuse_folders(tmp_path / "of-the-file-server", shared, *nodes):
            async with polled_bench(
                shared, lambda watch: launcher_on(commands, transport_name, shared, watch)
            ) as bench:
                yield bench

    async def test_nodes_have_mounts_of_their_own(self, bench: Bench, launcher: Launcher) -> None:
        run = bench.run("stat", "--format=%d", ".")
        folder = await bench.start(launcher, run)
        await soon(launcher.wait(run))
        assert int(folder.tail()) != run.folder.stat().st_dev
