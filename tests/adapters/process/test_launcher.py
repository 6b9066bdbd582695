"""The conformance suite over plain processes, and what only they have."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from signal import SIGKILL

import pytest

from fetchml import shim
from fetchml.adapters.process.launcher import ProcessLauncher
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.ports.launcher import AttemptExit, Launcher, LaunchSpec, Mount, PrepareError
from fetchml.system import processes
from tests.adapters.launcher_conformance import UNTIL_TOLD, LauncherConformance, shell
from tests.support.launcher_bench import Bench, silent
from tests.support.launcher_bench import bench as open_bench
from tests.support.waiting import soon


@pytest.fixture
def own_shim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the shim that launchers opened from now on start."""
    copy = Path(shutil.copy(shim.path(), tmp_path / "shim"))
    monkeypatch.setattr(shim, "path", lambda: copy)
    return copy


def _remove(file: Path) -> None:
    file.unlink()


def _forbid(file: Path) -> None:
    file.chmod(0o600)


class TestProcessLauncher(LauncherConformance):
    @pytest.fixture
    async def bench(self, tmp_path: Path) -> AsyncIterator[Bench]:
        data_dir = tmp_path / "data"
        async with open_bench(data_dir, "", lambda w: ProcessLauncher(data_dir, w)) as bench:
            yield bench

    @pytest.fixture
    def engine(self) -> str:
        return ""

    def assert_nothing_left(self, run: LaunchSpec) -> None:
        mark = f"FETCHML_WORKSPACE={run.folder}/workspace"
        assert not [pid for pid in processes.pids() if mark in processes.environment(pid)]

    async def test_a_shim_that_was_killed_takes_all_with_it(
        self, bench: Bench, launcher: Launcher
    ) -> None:
        run = shell(bench, "setsid sleep 60 & " + UNTIL_TOLD)
        folder = await bench.start(launcher, run)
        await bench.until_log(run, b"ready")
        claim = folder.claim()
        assert claim is not None
        assert claim.pid is not None
        os.kill(claim.pid, SIGKILL)
        gone = await soon(launcher.wait(run))
        assert gone == AttemptExit(lost="the task's shim was killed")
        self.assert_nothing_left(run)

    @pytest.mark.parametrize("end", ["stop", "kill"])
    async def test_a_shim_so_young_that_it_shows_no_environment_is_ended(
        self, bench: Bench, launcher: Launcher, end: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = shell(bench, "true")
        await launcher.prepare(run, silent)
        with monkeypatch.context() as young:
            young.setattr(processes, "environment", lambda _: [])
            await getattr(launcher, end)(run)
        assert await soon(launcher.wait(run)) == AttemptExit()
        self.assert_nothing_left(run)

    async def test_a_claim_of_an_earlier_boot(self, bench: Bench, launcher: Launcher) -> None:
        run = shell(bench, "true")
        folder = AttemptFolder(run.folder)
        folder.create(os.getuid(), os.getgid())
        (folder.run / "claim").write_text(f"pid={os.getpid()}\nstarttime=1\nboot_id=another\n")
        gone = await soon(launcher.wait(run))
        assert gone == AttemptExit(lost="the machine was restarted while the task ran")

    async def test_a_pid_that_is_another_process_by_now(
        self, bench: Bench, launcher: Launcher
    ) -> None:
        run = shell(bench, "true")
        folder = AttemptFolder(run.folder)
        folder.create(os.getuid(), os.getgid())
        (folder.run / "claim").write_text(
            f"pid={os.getpid()}\nstarttime=1\nboot_id={processes.boot_id()}\n"
        )
        await launcher.kill(run)  # would end this very test
        assert (await soon(launcher.wait(run))).lost is not None

    async def test_files_of_a_task_belong_to_its_user(
        self, bench: Bench, launcher: Launcher
    ) -> None:
        run = shell(bench, 'touch "$FETCHML_OUTPUTS/made"')
        folder = await bench.start(launcher, run)
        await soon(launcher.wait(run))
        assert (folder.outputs / "made").stat().st_mode & 0o077 == 0

    async def test_its_shim_is_removed_while_it_runs(self, bench: Bench, own_shim: Path) -> None:
        """As when somebody tidies up `/tmp`, where the executable has unpacked itself."""
        launcher = await bench.open()
        _remove(own_shim)
        run = shell(bench, "echo ran")
        folder = await bench.start(launcher, run)
        assert await soon(launcher.wait(run)) == AttemptExit()
        assert folder.tail() == b"ran\n"

    @pytest.mark.parametrize("spoil", [_remove, _forbid])
    async def test_without_a_shim_it_takes_no_task(
        self, bench: Bench, own_shim: Path, spoil: Callable[[Path], None]
    ) -> None:
        spoil(own_shim)
        launcher = ProcessLauncher(bench.data_dir, bench.watch)
        told: list[tuple[bool, str]] = []
        await launcher.open("", lambda *availability: told.append(availability))
        [(available, says)] = told
        assert not available
        assert says.startswith("Cannot start the shim, which starts every task: [Errno ")
        # One that an earlier server began to make ready waits.
        progress: list[str] = []
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(launcher.prepare(shell(bench, "true"), progress.append), 0.1)
        assert progress == ["Cannot start the shim, which starts every task"]
        await launcher.close()

    async def test_a_place_that_is_taken(self, bench: Bench, launcher: Launcher) -> None:
        run = shell(bench, "true")
        run.folder.parent.mkdir(parents=True)
        run.folder.write_text("a file where the folder belongs")
        with pytest.raises(PrepareError, match="cannot prepare the task: File exists"):
            await launcher.prepare(run, silent)

    @pytest.mark.parametrize(
        "targets",
        [
            ("/data/mnt", "/mnt/x/rows"),
            ("/mnt/x/rows", "/data/mnt"),
            ("/mnt/rows", "/data/mnt/rows"),
        ],
    )
    async def test_nothing_is_put_into_a_dataset_or_in_its_place(
        self, bench: Bench, launcher: Launcher, tmp_path: Path, targets: tuple[str, str]
    ) -> None:
        """In a container they lie apart. The server's own dataset is not the task's to write to."""
        sources = (tmp_path / "a", tmp_path / "b")
        for source in sources:
            source.mkdir()
        mounts = (Mount(sources[0], targets[0], True), Mount(sources[1], targets[1], True))
        run = shell(bench, "true", datasets=mounts)
        with pytest.raises(PrepareError, match="conflicts with another dataset") as error:
            await launcher.prepare(run, silent)
        assert error.value.permanent
        assert [list(source.iterdir()) for source in sources] == [[], []]

    async def test_datasets_stay_when_the_task_is_made_ready_again(
        self, bench: Bench, launcher: Launcher, tmp_path: Path
    ) -> None:
        mounts = (Mount(tmp_path, "/mnt/x", True), Mount(tmp_path, "/data/y", True))
        run = shell(bench, 'readlink "$FETCHML_DATASETS/mnt/x"', datasets=mounts)
        (run.folder / "datasets/mnt").mkdir(parents=True)
        (run.folder / "datasets/mnt/x").symlink_to(tmp_path)
        folder = await bench.start(launcher, run)
        await soon(launcher.wait(run))
        assert folder.tail().decode().strip() == str(tmp_path)
