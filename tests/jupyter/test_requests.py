"""Requests for Jupyter services, and the workspaces that they name."""

from pathlib import Path

import pytest

from fetchml.core.jupyter import ServiceStatus
from fetchml.errors import Unavailable, ValidationFailed
from fetchml.jupyter import jupyter_service, workspaces
from tests.jupyter.stand_in import over, running
from tests.support.engine_box import ADMIN, ALICE, BOB, Box

pytestmark = pytest.mark.usefixtures("stand_in")


REJECTED: list[tuple[dict[str, object], str]] = [
    ({}, "name: is required"),
    ({"name": ""}, "name: must not be empty"),
    ({"name": "a", "workspace": "/etc"}, "workspace: .* absolute"),
    ({"name": "a", "workspace": "../a"}, r"workspace: .* \.\."),
    ({"name": "a", "workspace": "a/../b"}, r"workspace: .* \.\."),
    ({"name": "a", "workspace": "a//b"}, "workspace: .* empty part"),
    ({"name": "a", "workspace": "a\0"}, "workspace: .* NUL"),
    ({"name": "a", "workspace": "a\nb"}, "workspace: must be printable"),
    ({"name": "a", "workspace": "a" * 256}, "workspace: .* over"),
    ({"name": "a", "image": "a b"}, "image: must be an image name"),
    ({"name": "a", "cpu": 3}, "cpu: requests 3, but this host has 2"),
    ({"name": "a", "gpu": -1}, "gpu: must be between"),
    ({"name": "a", "memory_gb": "1"}, "memory_gb: must be an integer"),
]


@pytest.mark.slow
async def test_a_rejected_request_changes_nothing(box: Box) -> None:
    async with box.engine():
        for request_, said in REJECTED:
            with pytest.raises(ValidationFailed, match=said):
                await box.jupyter.start(ALICE, request_)
            assert box.jupyter.list(ADMIN) == []
            assert not box.workspaces.exists()


async def test_starts_are_rejected_while_the_server_has_no_room(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with box.engine(has_containers=False, jupyter_command=("no-such-jupyter",)):
        with pytest.raises(Unavailable, match="there is no 'no-such-jupyter' on"):
            await box.jupyter.start(ALICE, {"name": "a"})
    async with box.engine(min_free_bytes=1 << 60):
        with pytest.raises(Unavailable, match="disk"):
            await box.jupyter.start(ALICE, {"name": "a"})
    async with box.engine():
        monkeypatch.setattr(jupyter_service, "MAX_LIVE", 1)
        await box.jupyter.start(ALICE, {"name": "a"})
        with pytest.raises(Unavailable, match="stop some"):
            await box.jupyter.start(ALICE, {"name": "a"})
        monkeypatch.setattr(jupyter_service, "MAX_LIVE", 5)
        monkeypatch.setattr(workspaces, "MAX_WORKSPACES", 1)
        with pytest.raises(Unavailable, match="1 workspaces"):
            await box.jupyter.start(ALICE, {"name": "b"})
        await box.jupyter.start(ALICE, {"name": "b", "workspace": "a"})
        await box.parts.lifecycle.drain()
        with pytest.raises(Unavailable, match="shutting down"):
            await box.jupyter.start(ALICE, {"name": "a"})


async def test_no_workspace_lies_outside_of_the_root(box: Box, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    box.workspaces.mkdir(parents=True)
    (box.workspaces / "link").symlink_to(outside)
    (box.workspaces / "file").write_text("")
    (box.workspaces / "team").mkdir()
    (box.workspaces / "team" / "link").symlink_to(outside, target_is_directory=True)
    async with box.engine():
        for place in ("link", "link/a", "file", "file/a", "team/link", "team/link/a/b"):
            with pytest.raises(ValidationFailed, match="is a link, or not a folder"):
                await box.jupyter.start(ALICE, {"name": "a", "workspace": place})
        assert box.jupyter.list(ADMIN) == []
    assert list(outside.iterdir()) == []


@pytest.mark.slow
async def test_no_workspace_lies_in_another(box: Box) -> None:
    """Whatever a container does to the folders of its own, no path of others leads through it."""
    async with box.engine():
        made = await box.jupyter.start(ALICE, {"name": "a", "workspace": "team/notes"})
        await running(box, made.id)
        await box.jupyter.stop(ALICE, made.id)
        await over(box, made.id)
        for place in ("team", "team/notes/inner", "team/notes/inner/more"):
            with pytest.raises(ValidationFailed, match="lies in another workspace"):
                await box.jupyter.start(BOB, {"name": "a", "workspace": place})
        await box.jupyter.start(BOB, {"name": "a", "workspace": "team/notes2"})
    async with box.engine():
        with pytest.raises(ValidationFailed, match="lies in another workspace"):
            await box.jupyter.start(BOB, {"name": "a", "workspace": "team/notes/inner"})
    # What the owner of the box has removed is no workspace any more.
    for file in (box.workspaces / "team/notes").iterdir():
        file.unlink()
    (box.workspaces / "team/notes").rmdir()
    async with box.engine():
        await box.jupyter.start(BOB, {"name": "a", "workspace": "team/notes/inner"})


async def test_a_link_placed_while_the_service_waits_is_rejected(box: Box, tmp_path: Path) -> None:
    async with box.engine(max_running=1) as engine:
        task = await engine.submissions.create_task(
            ALICE, {"job_name": "a", "command": ["sleep", "1000"]}
        )
        made = await box.jupyter.start(ALICE, {"name": "a"})
        waits = box.jupyter.get(ALICE, made.id)
        assert (waits.status, waits.reason) == (
            ServiceStatus.STARTING,
            "It waits for 1 slot for tasks (0 of 1 free).",
        )
        (box.workspaces / "a").rmdir()
        (box.workspaces / "a").symlink_to(tmp_path)
        await engine.changes.cancel(ALICE, task.id)
        done = await over(box, made.id)
        assert done.status is ServiceStatus.ERROR
        assert done.reason == "its workspace 'a' in its path is a link, or not a folder"
