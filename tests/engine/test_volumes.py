"""Volumes, and the users who may mount them, over real processes."""

import re
from pathlib import Path

import pytest

from fetchml.core.model import FailureReason, Principal, Status
from fetchml.core.requests.volumes import Volume, path_fault
from fetchml.engine.engine import Engine
from fetchml.errors import StorageQuotaReached, ValidationFailed
from fetchml.files.volume_usage import VolumeUsage
from tests.support.engine_box import ADMIN, ALICE, BOB, Box, ended, running
from tests.support.waiting import until_true


@pytest.fixture
def volumes(tmp_path: Path) -> dict[str, Volume]:
    folders = {name: tmp_path / name for name in ("shared", "alices")}
    for folder in folders.values():
        folder.mkdir()
    (folders["shared"] / "file").write_text("content\n")
    return {
        "shared": Volume(str(folders["shared"])),
        "alices": Volume(str(folders["alices"]), read_only=False, users=("alice",)),
    }


def job(script: str, *names: str) -> dict[str, object]:
    return {"job_name": "a", "command": ["sh", "-c", script], "volumes": list(names)}


async def names_of(engine: Engine, who: Principal) -> list[str]:
    return list((await engine.information.get(who)).volumes)


async def test_task_finds_its_volumes(box: Box, volumes: dict[str, Volume]) -> None:
    script = 'cd "$FETCHML_VOLUMES"; ls; cat shared/file; echo written > alices/new'
    async with box.engine(volumes=volumes) as engine:
        task = await engine.submissions.create_task(ALICE, job(script, "shared", "alices"))
        done = await ended(engine, task.id)
        assert await engine.logs.tail(done) == "alices\nshared\ncontent\n"
        assert (Path(volumes["alices"].path) / "new").read_text() == "written\n"
        # What the launcher made is gone, and nothing behind its links.
        assert (Path(volumes["shared"].path) / "file").exists()
        await engine.changes.delete(ALICE, task.id)
        assert (Path(volumes["shared"].path) / "file").exists()
        without = await engine.submissions.create_task(ALICE, job('echo "[$FETCHML_VOLUMES]"'))
        assert await engine.logs.tail(await ended(engine, without.id)) == "[]\n"


async def test_volume_of_others_is_as_unknown(box: Box, volumes: dict[str, Volume]) -> None:
    async with box.engine(volumes=volumes) as engine:
        for who, name in ((BOB, "alices"), (ADMIN, "alices"), (ALICE, "missing")):
            with pytest.raises(ValidationFailed) as refused:
                await engine.submissions.create_task(who, job("true", name))
            [violation] = refused.value.violations
            assert violation == ("volumes", f"there is no volume {name!r} that you may use")
        assert await names_of(engine, ALICE) == ["shared", "alices"]
        assert await names_of(engine, BOB) == ["shared"]


@pytest.mark.parametrize("is_link", [False, True])
async def test_volume_is_checked_again_before_the_start(
    box: Box, volumes: dict[str, Volume], tmp_path: Path, *, is_link: bool
) -> None:
    _replace(Path(volumes["alices"].path), tmp_path / "data" if is_link else None)
    async with box.engine(volumes=volumes) as engine:
        task = await engine.submissions.create_task(ALICE, job("true", "alices"))
        failed = await ended(engine, task.id)
        assert failed.failure_reason is FailureReason.PREPARE_FAILED
        assert failed.error == "the volume alices is not available on this host now"


def _replace(folder: Path, link_to: Path | None) -> None:
    folder.rmdir()
    if link_to is not None:
        folder.symlink_to(link_to)


async def test_settings_of_a_restart_hold(box: Box, volumes: dict[str, Volume]) -> None:
    async with box.engine(volumes=volumes, max_running=1) as engine:
        first = await engine.submissions.create_task(
            ALICE, {"job_name": "a", "command": ["sleep", "600"]}
        )
        waits = await engine.submissions.create_task(ALICE, job("true", "alices"))
    async with box.engine(volumes={"shared": volumes["shared"]}, max_running=1) as engine:
        await engine.changes.cancel(ALICE, first.id)
        failed = await ended(engine, waits.id)
        assert failed.status is Status.FAILED
        assert failed.error == "there is no volume 'alices' that you may use"


@pytest.mark.parametrize(
    "path",
    ["/", "/etc", "/etc/ssl", "/var", "/var/lib", "/var/lib/docker/x", "/proc/1", "/run/user",
     "/srv/fetchml", "/srv/fetchml/tasks", "/srv"],
)  # fmt: skip
def test_forbidden_paths(path: str) -> None:
    assert path_fault(path, ["/srv/fetchml"])


@pytest.mark.parametrize("path", ["/srv/fetchml-scratch", "/data", "/home/ada", "/etcetera"])
def test_allowed_paths(path: str) -> None:
    assert path_fault(path, ["/srv/fetchml"]) is None


async def test_full_volume_takes_no_further_writer(box: Box, tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    folder.mkdir()
    volumes = {
        "scratch": Volume(str(folder), read_only=False, max_bytes=1 << 20),
        "results": Volume(str(folder), max_bytes=1 << 20),
    }
    refused = r"The volume scratch takes 2\.0 MiB of 1\.0 MiB allowed.* \[volumes\.scratch\] max_gb"
    async with box.engine(volumes=volumes, max_running=1) as engine:
        first = await engine.submissions.create_task(ALICE, job("sleep 600", "scratch"))
        await running(engine, first.id)
        waits = await engine.submissions.create_task(BOB, job("true", "scratch"))
        (folder / "file").write_bytes(bytes(2 << 20))
        async with box.parts.volumes.watching():
            await until_true(lambda: box.parts.volumes.seen_by(ALICE)[0].used)
        with pytest.raises(StorageQuotaReached, match=refused):
            await engine.submissions.create_task(ALICE, job("true", "results", "scratch"))
        with pytest.raises(StorageQuotaReached, match=refused):
            await engine.submissions.create_tasks(ALICE, [job("true"), job("true", "scratch")])
        # Readers go on, and so does the task that runs.
        reader = await engine.submissions.create_task(ALICE, job("true", "results"))
        assert (await engine.tasks.get(ALICE, first.id)).status is Status.RUNNING
        await engine.changes.cancel(ALICE, first.id)
        failed = await ended(engine, waits.id)
        assert failed.failure_reason is FailureReason.PREPARE_FAILED
        assert re.match(refused, failed.error or "")
        assert (await ended(engine, reader.id)).status is Status.COMPLETED
        # Once there is room again, so may the next one.
        (folder / "file").unlink()
        async with box.parts.volumes.watching():
            await until_true(lambda: box.parts.volumes.room_fault(["scratch"]) is None)
        again = await engine.submissions.create_task(ALICE, job("true", "scratch"))
        assert (await ended(engine, again.id)).status is Status.COMPLETED


async def test_volume_with_more_files_than_are_counted_is_full(tmp_path: Path) -> None:
    """Else empty files would hide the large ones."""
    for number in range(9):
        (tmp_path / str(number)).touch()
    known = {"scratch": Volume(str(tmp_path), read_only=False, max_bytes=1 << 40)}
    usage = VolumeUsage(known, most_files=8)
    async with usage.watching():
        await until_true(lambda: usage.room_fault(["scratch"]))
    assert "more than 8 files and folders" in (usage.room_fault(["scratch"]) or "")


async def test_volume_that_is_away_keeps_its_last_measurement(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A network disk that fails is not empty."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    (folder / "file").write_bytes(bytes(2 << 20))
    usage = VolumeUsage({"scratch": Volume(str(folder), read_only=False, max_bytes=1 << 20)})
    async with usage.watching():
        await until_true(lambda: usage.room_fault(["scratch"]))
    folder.rename(tmp_path / "away")
    async with usage.watching():
        await until_true(lambda: "measuring the volume scratch failed" in caplog.text)
    assert usage.room_fault(["scratch"])


async def test_only_volumes_with_a_limit_are_measured(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(10_000))
    known = {
        "free": Volume(str(tmp_path), read_only=False),
        "limited": Volume(str(tmp_path), read_only=False, max_bytes=1 << 20),
        "alices": Volume(str(tmp_path), users=("alice",)),
    }
    usage = VolumeUsage(known)
    async with usage.watching():
        await until_true(lambda: usage.seen_by(BOB)[1].used)
    free, limited = usage.seen_by(BOB)
    assert free.used is None
    assert limited.used is not None
    assert (limited.used.files, limited.used.bytes >= 10_000) == (1, True)
    assert [each.name for each in usage.seen_by(ALICE)] == ["free", "limited", "alices"]
