"""New records of attempts are noticed soon, independent of the reports of Slurm."""

from pathlib import Path

from fetchml.adapters.slurm.follower import Followed
from fetchml.adapters.slurm.job import Job
from fetchml.adapters.slurm.records_watch import RecordsWatch
from fetchml.files.shared_disk import SharedDisk
from tests.support.waiting import soon, until_true


async def test_new_record_wakes_waiters(tmp_path: Path) -> None:
    watch = RecordsWatch(SharedDisk(), seconds=0.01)
    running = Followed("running", Job(1, ("RUNNING",)))
    pending = Followed("pending", Job(2, ("PENDING",)))
    folders = {each.name: tmp_path / each.name for each in (running, pending)}
    for folder in folders.values():
        (folder / "run").mkdir(parents=True)
    (folders["running"] / "run/claim").touch()
    await watch.open()
    try:
        with (
            watch.watching(folders["running"], running),
            watch.watching(folders["pending"], pending),
            watch.watching(tmp_path / "none", Followed("none")),
        ):
            await soon(running.changed.wait())  # The first look.
            for name in ("started", "exit"):
                running.changed.clear()
                (folders["pending"] / f"run/{name}").touch()
                (folders["running"] / f"run/{name}").touch()
                await soon(running.changed.wait())
            # Slurm was not asked since it began.
            await soon(pending.changed.wait())
        await until_true(lambda: not watch._seen)
    finally:
        await watch.close()


async def test_task_that_spoils_its_folder_hides_no_others_records(tmp_path: Path) -> None:
    watch = RecordsWatch(SharedDisk(), seconds=0.01)
    (tmp_path / "file").mkdir()
    (tmp_path / "file/run").touch()
    (tmp_path / "link").mkdir()
    (tmp_path / "link/run").symlink_to("/proc")
    (tmp_path / "other/run").mkdir(parents=True)
    (tmp_path / "other/run/started").touch()
    other = Followed("other")
    await watch.open()
    try:
        with (
            watch.watching(tmp_path / "file", Followed("file")),
            watch.watching(tmp_path / "link", Followed("link")),
            watch.watching(tmp_path / "other", other),
        ):
            await soon(other.changed.wait())
    finally:
        await watch.close()


async def test_few_folders_are_looked_at_more_often(tmp_path: Path) -> None:
    """An interval of an hour would be the one between looks at many."""
    watch = RecordsWatch(SharedDisk(), seconds=3_600)
    running = Followed("running", Job(1, ("RUNNING",)))
    (tmp_path / "run").mkdir()
    with watch.watching(tmp_path, running):
        await watch.open()
        try:
            for name in ("claim", "started", "exit"):
                (tmp_path / f"run/{name}").touch()
                await soon(running.changed.wait())
                running.changed.clear()
        finally:
            await watch.close()
