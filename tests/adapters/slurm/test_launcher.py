"""The conformance suite over a real Slurm: in full through slurmrestd, through the commands what
asks Slurm for something, and on a folder that each node mounts for itself what reads records."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fetchml.ports.launcher import Launcher, LaunchSpec
from testbed.fuse_folder import fuse_folders
from testbed.slurm import NODES, Slurm
from tests.adapters.launcher_conformance import LauncherConformance
from tests.support.launcher_bench import Bench, polled_bench
from tests.support.slurm_fixtures import launcher_on
from tests.support.waiting import soon

pytestmark = pytest.mark.slow


class OnSlurm:
    kind = "slurm"
    slurm: Slurm
    launcher = LauncherConformance.launcher
    server = LauncherConformance.server

    @pytest.fixture
    async def bench(
        self, tmp_path: Path, commands: Slurm, transport_name: str
    ) -> AsyncIterator[Bench]:
        shared = tmp_path / "shared"
        shared.mkdir(mode=0o700)
        self.slurm = commands
        async with polled_bench(
            shared, lambda watch: launcher_on(commands, transport_name, shared, watch)
        ) as bench:
            yield bench

    @pytest.fixture
    def engine(self, commands: Slurm, transport_name: str) -> str:
        return "cli" if transport_name == "cli" else f"{commands.url} {commands.jwt_key}"

    def assert_nothing_left(self, run: LaunchSpec) -> None:
        assert not [name for name in self.slurm.jobs() if run.task_id in name]


class TestSlurmLauncher(OnSlurm, LauncherConformance):
    async def test_usage_counts_all_processes_of_an_attempt(
        self, bench: Bench, launcher: Launcher
    ) -> None:
        """There is no record yet."""
        run = bench.run("true")
        assert await launcher.usage([run]) == [None]
        assert await launcher.usage([]) == []


class TestOverCommands(OnSlurm):
    test_exit_code = LauncherConformance.test_exit_code_is_reported
    test_stop = LauncherConformance.test_stop_lets_the_task_end_by_itself
    test_stop_at_the_gate = LauncherConformance.test_stopped_at_the_gate_it_never_starts
    test_kill = LauncherConformance.test_kill_ends_all_processes
    test_clean = LauncherConformance.test_clean_ends_what_is_not_live
    test_a_task_outlives_its_server = LauncherConformance.test_a_task_outlives_its_server

    @pytest.fixture
    def transport_name(self) -> str:
        return "cli"


class TestFuseFolder(OnSlurm):
    test_the_three_places = LauncherConformance.test_the_three_places
    test_prepared_twice_it_runs_once = LauncherConformance.test_prepared_twice_it_runs_once
    test_stop_at_the_gate = LauncherConformance.test_stopped_at_the_gate_it_never_starts
    test_revoked_it_never_starts = LauncherConformance.test_revoked_it_never_starts
    test_a_task_outlives_its_server = LauncherConformance.test_a_task_outlives_its_server

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
