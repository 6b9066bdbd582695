"""Volumes, and the users who may mount them, over real processes."""

from pathlib import Path

import pytest

from fetchml.core.model import FailureReason, Principal, Status
from fetchml.core.requests.mounts.volumes import Volume, path_fault
from fetchml.engine.engine import Engine
from fetchml.errors import ValidationFailed
from tests.support.engine_box import ADMIN, ALICE, BOB, Box, ended


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
    return list((await engine.server_info(who)).volumes)


async def test_task_finds_its_volumes(box: Box, volumes: dict[str, Volume]) -> None:
    script = 'cd "$FETCHML_VOLUMES"; ls; cat shared/file; echo written > alices/new'
    async with box.engine(volumes=volumes) as engine:
        task = await engine.create_task(ALICE, job(script, "shared", "alices"))
        done = await ended(engine, task.id)
        assert await engine.task_output(done) == "alices\nshared\ncontent\n"
        assert (Path(volumes["alices"].path) / "new").read_text() == "written\n"
        # What the launcher made is gone, and nothing behind its links.
        assert (Path(volumes["shared"].path) / "file").exists()
        await engine.delete_task(ALICE, task.id)
        assert (Path(volumes["shared"].path) / "file").exists()
        without = await engine.create_task(ALICE, job('echo "[$FETCHML_VOLUMES]"'))
        assert await engine.task_output(await ended(engine, without.id)) == "[]\n"


async def test_volume_of_others_is_as_unknown(box: Box, volumes: dict[str, Volume]) -> None:
    async with box.engine(volumes=volumes) as engine:
        for who, name in ((BOB, "alices"), (ADMIN, "alices"), (ALICE, "missing")):
            with pytest.raises(ValidationFailed) as refused:
                await engine.create_task(who, job("true", name))
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
        task = await engine.create_task(ALICE, job("true", "alices"))
        failed = await ended(engine, task.id)
        assert failed.failure_reason is FailureReason.PREPARE_FAILED
        assert failed.error == "the volume alices is not available on this host now"


def _replace(folder: Path, link_to: Path | None) -> None:
    folder.rmdir()
    if link_to is not None:
        folder.symlink_to(link_to)


async def test_settings_of_a_restart_hold(box: Box, volumes: dict[str, Volume]) -> None:
    async with box.engine(volumes=volumes, max_running=1) as engine:
        first = await engine.create_task(ALICE, {"job_name": "a", "command": ["sleep", "600"]})
        waits = await engine.create_task(ALICE, job("true", "alices"))
    async with box.engine(volumes={"shared": volumes["shared"]}, max_running=1) as engine:
        await engine.cancel_task(ALICE, first.id)
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
