"""The conformance suite over a real Slurm, with both ways to reach it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fetchml.ports.launcher import Launcher, LaunchSpec
from testbed.slurm import Slurm
from tests.adapters.launcher_conformance import LauncherConformance
from tests.support.launcher_bench import Bench, polled_bench
from tests.support.slurm_fixtures import launcher_on

pytestmark = pytest.mark.slow


class TestSlurmLauncher(LauncherConformance):
    @pytest.fixture(params=["rest", "cli"])
    def transport_name(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

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

    kind = "slurm"

    def assert_nothing_left(self, run: LaunchSpec) -> None:
        assert not [name for name in self.slurm.jobs() if run.task_id in name]

    async def test_usage_counts_all_processes_of_an_attempt(
        self, bench: Bench, launcher: Launcher
    ) -> None:
        """Not known of other machines yet."""
        run = bench.run("true")
        assert await launcher.usage([run]) == [None]
        assert await launcher.usage([]) == []
