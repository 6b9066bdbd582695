"""A volume that is replaced by a link to the host's files between its check and its mount."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fetchml.adapters.docker.launcher import DockerLauncher
from fetchml.adapters.process.launcher import ProcessLauncher
from fetchml.adapters.shim_command import VOLUME_REPLACED
from fetchml.attempts.volumes import mounts_of
from fetchml.core.requests.volumes import Volume
from fetchml.files.volume_usage import VolumeUsage
from fetchml.ports.launcher import Launcher, Mount
from tests.support.launcher_bench import Bench
from tests.support.launcher_bench import bench as open_bench
from tests.support.tasks import task as a_task
from tests.support.waiting import soon


class TestReplacedVolumes:
    @pytest.fixture(params=["docker", "process"])
    async def bench(self, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
        data_dir, image = tmp_path / "data", ""
        host: str | None = None
        if request.param == "docker":
            host = request.getfixturevalue("docker_engine").host
            image = request.getfixturevalue("python_image")

        def make(watch: object) -> Launcher:
            if host is None:
                return ProcessLauncher(data_dir, watch)  # type: ignore[arg-type]
            return DockerLauncher(data_dir, host=host, network="none")

        async with open_bench(data_dir, image, make) as bench:
            yield bench

    @pytest.mark.parametrize("with_check", [True, False])
    async def test_nothing_runs_with_what_was_put_in_the_place_of_a_volume(
        self, bench: Bench, tmp_path: Path, *, with_check: bool
    ) -> None:
        """Without the check the task reads the files, so that the attack is a real one."""
        scratch, secret = tmp_path / "scratch", tmp_path / "secret"
        for folder in (scratch, secret):
            folder.mkdir()
            folder.chmod(0o755)
        (secret / "key").write_text("of the host\n")
        known = {"scratch": Volume(str(scratch), read_only=False)}
        checked = mounts_of(a_task(volumes=("scratch",)), VolumeUsage(known))
        if not with_check:
            checked = tuple(Mount(m.source, m.target, m.read_only) for m in checked)

        scratch.rename(tmp_path / "away")
        scratch.symlink_to(secret)

        launcher = await bench.open()
        run = bench.run("sh", "-c", 'cat "$FETCHML_VOLUMES/scratch/key"', volumes=checked)
        attempt = await bench.start(launcher, run)
        ended = await soon(launcher.wait(run))
        if with_check:
            assert ended == VOLUME_REPLACED
            assert attempt.claim() is None
            assert attempt.tail() == b""
        else:
            assert attempt.tail() == b"of the host\n"
        await soon(launcher.remove(run))
        assert (secret / "key").exists()
