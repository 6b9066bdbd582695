"""What every launcher must keep. One class of tests for each takes it over."""

import asyncio
import subprocess
import sys
from functools import partial
from pathlib import Path

import msgspec
import pytest

from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.kept_outputs import make_readable
from fetchml.ports.launcher import AttemptExit, Launcher, LaunchSpec, Mount
from tests.adapters.folders_conformance import FoldersConformance
from tests.support.launcher_bench import Bench, end_of, silent
from tests.support.waiting import eventually, soon, until

REPOSITORY = Path(__file__).parents[2]
RUNS_ONCE = 'echo ran >> "$FETCHML_OUTPUTS/ran"; '
UNTIL_TOLD = "echo ready; until [ -e go ]; do sleep 0.02; done; exit 5"
ESCAPES = """
import os, pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork():
    signal.pause()
os.setsid()
print("ready", flush=True)
while True:
    pathlib.Path("alive").touch()
    time.sleep(0.02)
"""
USES_RESOURCES = """
import os, pathlib, subprocess, sys, time
burn = "import time; any(time.process_time() > 0.5 for _ in iter(int, 1))"
subprocess.run([sys.executable, "-c", burn], check=True)
held = bytearray(os.urandom(1 << 20)) * 96
out = os.open(os.environ["FETCHML_OUTPUTS"] + "/big", os.O_WRONLY | os.O_CREAT)
os.write(out, held[: 8 << 20])
os.fsync(out)
print("ready", flush=True)
time.sleep(600)
"""


def shell(bench: Bench, script: str, **options: object) -> LaunchSpec:
    return bench.run("sh", "-c", script, **options)


def times_run(run: LaunchSpec) -> int:
    ran = run.folder / "outputs/ran"
    return len(ran.read_text().splitlines()) if ran.exists() else 0


class LauncherConformance(FoldersConformance):
    """A subclass brings the fixtures `bench` and `engine` (an address, for `server.py`)."""

    kind = ""
    """The launcher's name for `server.py`; empty if `engine` names it."""

    @pytest.fixture
    async def launcher(self, bench: Bench) -> Launcher:
        return await bench.open()

    async def test_exit_code_is_reported(self, bench: Bench, launcher: Launcher) -> None:
        run = shell(bench, "exit 3")
        await bench.start(launcher, run)
        assert await soon(launcher.wait(run)) == AttemptExit()
        end = end_of(run)
        assert (end.code, end.signal, end.timed_out) == (3, None, False)
        assert end.started_at is not None
        assert end.started_at <= end.at

    async def test_a_task_of_a_moment_keeps_its_output(
        self, bench: Bench, launcher: Launcher
    ) -> None:
        runs = [shell(bench, f"echo {n}; echo error {n} >&2") for n in range(8)]

        async def go(run: LaunchSpec) -> bytes:
            folder = await bench.start(launcher, run)
            await soon(launcher.wait(run))
            return folder.tail()

        outputs = await asyncio.gather(*map(go, runs))
        assert outputs == [f"{n}\nerror {n}\n".encode() for n in range(8)]

    async def test_the_three_places(self, bench: Bench, launcher: Launcher, tmp_path: Path) -> None:
        dataset = tmp_path / "some-data"
        dataset.mkdir()
        (dataset / "rows").write_text("1,2,3")
        dataset.chmod(0o755)
        kept = tmp_path / "task" / "outputs"
        make_readable(kept)
        (kept / "model").write_text("weights")
        run = shell(
            bench,
            'pwd; echo "$FETCHML_WORKSPACE"; cp "$FETCHML_DATASETS/digits/rows" "$FETCHML_OUTPUTS"'
            '; cp "$FETCHML_INPUTS/train/model" "$FETCHML_OUTPUTS"',
            datasets=(Mount(dataset, "/data/digits", read_only=True),),
            inputs=(Mount(kept, "/inputs/train", read_only=True),),
        )
        folder = await bench.start(launcher, run)
        await soon(launcher.wait(run))
        workspace, named_workspace = folder.tail().decode().splitlines()
        assert workspace == named_workspace
        found = [(folder.outputs / name).read_text() for name in ("rows", "model")]
        assert found == ["1,2,3", "weights"]

    async def test_a_dataset_may_be_one_file(
        self, bench: Bench, launcher: Launcher, tmp_path: Path
    ) -> None:
        kept = tmp_path / "of-the-server-alone"
        kept.mkdir(mode=0o700)
        sources = [kept / "a", kept / "b"]
        for source in sources:
            source.write_text(source.name)
            source.chmod(0o444)
        targets = ("/data/digits/rows.csv", "/data/digits/labels.csv")
        run = shell(
            bench,
            'cd "$FETCHML_DATASETS/digits"; ls; cat rows.csv labels.csv',
            datasets=tuple(map(Mount, sources, targets, (True, True))),
        )
        folder = await bench.start(launcher, run)
        await soon(launcher.wait(run))
        assert folder.tail() == b"labels.csv\nrows.csv\nab"

    async def test_nothing_of_the_server_is_inherited(
        self, bench: Bench, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FETCHML_ADMIN_KEY", "the server's secret")
        script = (
            "import os; print(sorted(os.environ)); print(os.listdir('/proc/self/fd'));"
            "print(open('/proc/self/status').read())"
        )
        run = bench.run("python3", "-c", script, env={"GIVEN": "1"})
        folder = await bench.start(launcher, run)
        await soon(launcher.wait(run))
        names, descriptors, status = folder.tail().decode().split("\n", 2)
        ours = {"FETCHML_WORKSPACE", "FETCHML_DATASETS", "FETCHML_OUTPUTS", "FETCHML_TASK_ID"}
        of_the_image = {"HOME", "HOSTNAME", "LANG", "LC_CTYPE"}
        no_gpus = {"CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"}
        left = set(eval(names)) - of_the_image - no_gpus  # noqa: S307 - our own
        assert left == {"PATH", "GIVEN"} | ours
        assert descriptors == "['0', '1', '2', '3']"  # 3: the folder that is being listed
        assert "SigBlk:\t0000000000000000" in status
        assert "SigIgn:\t0000000001001000" in status  # Python's own: SIGPIPE and SIGXFSZ

    async def test_prepared_twice_it_runs_once(self, bench: Bench, launcher: Launcher) -> None:
        run = shell(bench, RUNS_ONCE)
        await launcher.prepare(run, silent)
        await bench.start(launcher, run)
        await soon(launcher.wait(run))
        await launcher.prepare(run, silent)
        assert await soon(launcher.wait(run)) == AttemptExit()
        assert times_run(run) == 1

    async def test_prepared_again_while_it_runs_it_is_left_alone(
        self, bench: Bench, launcher: Launcher
    ) -> None:
        run = shell(bench, RUNS_ONCE + UNTIL_TOLD)
        folder = await bench.start(launcher, run)
        await bench.until_log(run, b"ready")
        await launcher.prepare(run, silent)
        (folder.workspace / "go").touch()
        assert await soon(launcher.wait(run)) == AttemptExit()
        assert times_run(run) == 1

    async def test_stop_lets_the_task_end_by_itself(self, bench: Bench, launcher: Launcher) -> None:
        run = shell(bench, "trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done")
        await bench.start(launcher, run)
        await bench.until_log(run, b"ready")
        await launcher.stop(run)
        assert await soon(launcher.wait(run)) == AttemptExit()
        assert end_of(run).code == 7

    async def test_stop_kills_after_the_grace(self, bench: Bench, launcher: Launcher) -> None:
        run = shell(bench, "trap '' TERM; echo ready; while :; do sleep 0.02; done", grace_ms=100)
        await bench.start(launcher, run)
        await bench.until_log(run, b"ready")
        await launcher.stop(run)
        await soon(launcher.wait(run))
        assert end_of(run).signal == 9

    async def test_stopped_at_the_gate_it_never_starts(
        self, bench: Bench, launcher: Launcher
    ) -> None:
        run = shell(bench, RUNS_ONCE)
        await launcher.prepare(run, silent)
        await launcher.stop(run)
        await soon(launcher.wait(run))
        assert AttemptFolder(run.folder).claim() is None

    async def test_after_remove_a_claimless_attempt_can_be_prepared_anew(
        self, bench: Bench, launcher: Launcher
    ) -> None:
        run = shell(bench, RUNS_ONCE)
        await launcher.prepare(run, silent)
        await launcher.kill(run)
        await soon(launcher.wait(run))
        await launcher.remove(run)
        await bench.start(launcher, run)
        assert await soon(launcher.wait(run)) == AttemptExit()
        assert times_run(run) == 1

    async def test_kill_ends_all_processes(self, bench: Bench, launcher: Launcher) -> None:
        run = bench.run("python3", "-c", ESCAPES)
        folder = await bench.start(launcher, run)
        await bench.until_log(run, b"ready")
        await launcher.kill(run)
        await soon(launcher.wait(run))
        end = folder.end()
        assert end is None or end.signal == 9
        (folder.workspace / "alive").unlink(missing_ok=True)
        with pytest.raises(TimeoutError):  # who still ran would make it within 20 ms
            async with asyncio.timeout(0.3), bench.watch.subscribe(folder.workspace) as changes:
                await changes.wait()

    async def test_the_time_limit(self, bench: Bench, launcher: Launcher) -> None:
        run = bench.run("sleep", "60", timeout_ms=100)
        await bench.start(launcher, run)
        await soon(launcher.wait(run))
        assert end_of(run).timed_out

    async def test_a_command_that_is_not_there(self, bench: Bench, launcher: Launcher) -> None:
        run = bench.run("no-such-command")
        await bench.start(launcher, run)
        await soon(launcher.wait(run))
        end = end_of(run)
        assert end.code == 127
        assert "No such file or directory" in str(end.start_error)

    async def test_revoked_it_never_starts(self, bench: Bench, launcher: Launcher) -> None:
        run = shell(bench, RUNS_ONCE)
        await launcher.prepare(run, silent)
        assert AttemptFolder(run.folder).revoke()
        assert await soon(launcher.wait(run)) == AttemptExit()
        assert times_run(run) == 0

    async def test_attempt_that_was_never_prepared(self, bench: Bench, launcher: Launcher) -> None:
        run = shell(bench, RUNS_ONCE)
        assert await soon(launcher.wait(run)) == AttemptExit()
        await launcher.stop(run)
        await launcher.kill(run)
        await launcher.remove(run)

    async def test_remove_may_be_repeated(self, bench: Bench, launcher: Launcher) -> None:
        run = shell(bench, "true")
        await bench.start(launcher, run)
        await soon(launcher.wait(run))
        await launcher.remove(run)
        await launcher.remove(run)
        await launcher.stop(run)
        await launcher.kill(run)
        assert await soon(launcher.wait(run)) == AttemptExit()

    @pytest.mark.parametrize("delay_ms", [0, 5, 20, 50])
    async def test_a_cancelled_prepare_leaves_nothing_behind(
        self, bench: Bench, launcher: Launcher, delay_ms: int
    ) -> None:
        run = shell(bench, RUNS_ONCE)
        preparing = asyncio.create_task(launcher.prepare(run, silent))
        await asyncio.wait([preparing], timeout=delay_ms / 1000)
        preparing.cancel()
        await asyncio.gather(preparing, return_exceptions=True)
        assert AttemptFolder(run.folder).revoke()
        assert await soon(launcher.wait(run)) == AttemptExit()
        await launcher.remove(run)
        assert times_run(run) == 0
        self.assert_nothing_left(run)

    async def test_clean_ends_what_is_not_live(self, bench: Bench, launcher: Launcher) -> None:
        kept, left_over = shell(bench, UNTIL_TOLD), shell(bench, UNTIL_TOLD)
        for run in (kept, left_over):
            await bench.start(launcher, run)
            await bench.until_log(run, b"ready")
        later = await bench.open()
        await later.clean(frozenset({(kept.task_id, kept.attempt)}))
        await soon(later.wait(left_over))
        (kept.folder / "workspace/go").touch()
        assert await soon(later.wait(kept)) == AttemptExit()
        assert end_of(kept).code == 5

    async def test_a_task_outlives_its_server(self, bench: Bench, engine: str) -> None:
        run = shell(bench, RUNS_ONCE + UNTIL_TOLD)
        with self.server(bench, run, engine, "--gate") as server:
            assert server.stdout is not None
            assert server.stdout.readline() == b"started\n"
            await bench.until_log(run, b"ready")
            server.kill()
        later = await bench.open()
        await later.prepare(run, silent)
        waiting = asyncio.create_task(later.wait(run))
        (run.folder / "workspace/go").touch()
        assert await soon(waiting) == AttemptExit()
        assert end_of(run).code == 5
        assert times_run(run) == 1
        await later.remove(run)
        self.assert_nothing_left(run)

    async def test_attempt_at_the_gate_outlives_its_server(self, bench: Bench, engine: str) -> None:
        run = shell(bench, RUNS_ONCE)
        with self.server(bench, run, engine) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == b"prepared\n"
            server.kill()
        later = await bench.open()
        await bench.start(later, run)
        assert await soon(later.wait(run)) == AttemptExit()
        assert times_run(run) == 1

    async def test_usage_counts_all_processes_of_an_attempt(
        self, bench: Bench, launcher: Launcher
    ) -> None:
        busy, idle = bench.run("python3", "-c", USES_RESOURCES), shell(bench, "sleep 600")
        waiting = []
        for run in (busy, idle):
            await bench.start(launcher, run)
            waiting.append(asyncio.create_task(launcher.wait(run)))
        await bench.until_log(busy, b"ready")
        never_begun = shell(bench, "true")
        for each in (launcher, await bench.open()):  # The second one is a later server's.
            if each is not launcher:
                await each.clean(frozenset((run.task_id, run.attempt) for run in (busy, idle)))
                waiting += [asyncio.create_task(each.wait(run)) for run in (busy, idle)]
            used, unused = await until(partial(each.usage, [busy, idle]), all)
            assert used is not None
            assert unused is not None
            assert 500 <= used.cpu_ms < 60_000, "the child that has ended counts"
            assert 96 << 10 <= used.memory_kb < 1 << 20
            assert used.write_kb in (0, *range(8 << 10, 1 << 20)), "0: the disk is not counted"
            assert unused.cpu_ms < used.cpu_ms
            assert unused.memory_kb < 96 << 10
            assert (await each.usage([never_begun])) == [None]
        for run in (busy, idle):
            await soon(launcher.kill(run))
        await soon(asyncio.gather(*waiting))
        for run in (busy, idle):
            await soon(launcher.remove(run))
        assert await launcher.usage([busy, idle]) == [None, None]
        assert await launcher.usage([]) == []

    async def test_attempt_that_ended_while_no_server_ran(self, bench: Bench, engine: str) -> None:
        run = shell(bench, "exit 4")
        with self.server(bench, run, engine, "--gate") as server:
            assert server.stdout is not None
            server.stdout.readline()
            server.kill()
        folder = AttemptFolder(run.folder)
        await eventually(lambda: folder.claim() is not None)
        later = await bench.open()
        assert await soon(later.wait(run)) == AttemptExit()
        assert end_of(run).code == 4

    def server(
        self, bench: Bench, run: LaunchSpec, engine: str, *options: str
    ) -> "subprocess.Popen[bytes]":
        """A server in a process of its own, which starts this one attempt."""
        command = [sys.executable, "-m", "tests.support.launcher_server"]
        kind = self.kind or ("docker" if engine else "process")
        command += [kind, str(bench.data_dir), engine]
        command += [msgspec.json.encode(run, enc_hook=str).decode(), *options]
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE)

    def assert_nothing_left(self, run: LaunchSpec) -> None:
        raise NotImplementedError
