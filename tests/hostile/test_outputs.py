"""Kept outputs are bounded in files, bytes and time."""

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchml.attempts.manager import COLLECTING_THREADS
from fetchml.errors import BadRequest
from fetchml.files import kept_outputs, untrusted
from fetchml.files.kept_outputs import FEW_FILES, OmittedOutputs, OutputLimits, keep
from fetchml.files.output_archives import OutputArchives
from fetchml.files.task_files import LISTING_THREADS, MOST_PATH_BYTES, TaskFiles
from tests.hostile.attacked import Attacked
from tests.support.engine_box import ALICE, BOB, Box, ended
from tests.support.engine_box import box as box  # noqa: PLC0414 - a fixture
from tests.support.waiting import SECONDS


def fill(folder: Path, count: int, content: bytes = b"") -> None:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        (folder / f"{number:05}").write_bytes(content)


def left(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


@pytest.mark.slow
def test_many_files_are_synced_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """40,000 empty files of a task: 10,000 are kept, with 64 calls of fsync and one of syncfs."""
    fill(tmp_path / "outputs", 40_000)
    synced = list[int]()
    whole = list[int]()
    monkeypatch.setattr(os, "fsync", synced.append)
    monkeypatch.setattr(kept_outputs, "sync_file_system", whole.append)
    left_out = keep(tmp_path / "outputs", OutputLimits(files=10_000))
    assert left_out == OmittedOutputs(30_000, 0)
    assert len(left(tmp_path / "outputs")) == 10_000
    assert (len(synced), len(whole)) == (FEW_FILES, 1)


def test_few_files_are_synced_individually(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "outputs", 5, b"x")
    synced = list[int]()
    whole = list[int]()
    monkeypatch.setattr(os, "fsync", synced.append)
    monkeypatch.setattr(kept_outputs, "sync_file_system", whole.append)
    assert keep(tmp_path / "outputs") == OmittedOutputs()
    assert (len(synced), len(whole)) == (6, 0), "the files and their folder"


def test_syncing_a_file_system_succeeds(tmp_path: Path) -> None:
    fill(tmp_path / "outputs", FEW_FILES + 1, b"x")
    assert keep(tmp_path / "outputs") == OmittedOutputs()


def test_output_bytes_are_bounded(tmp_path: Path) -> None:
    root = tmp_path / "outputs"
    fill(root, 5, b"x" * 1000)
    with (root / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    (root / "zz").write_bytes(b"y" * 400)
    assert keep(root, OutputLimits(bytes=3500)) == OmittedOutputs(3, 2000 + (1 << 40))
    assert left(root) == ["00000", "00001", "00002", "zz"]


def test_folders_count_and_links_and_pipes_are_removed(tmp_path: Path) -> None:
    root = tmp_path / "outputs"
    fill(root, 1)
    os.mkfifo(root / "0pipe")
    (root / "a").symlink_to("/etc/passwd")
    fill(root / "b", 3)
    fill(root / "c", 2)
    assert keep(root, OutputLimits(files=5)) == OmittedOutputs(3, 0)
    assert left(root) == ["00000", "a", "b", "b/00000", "b/00001"]


def test_folders_beyond_the_limit_are_removed(tmp_path: Path) -> None:
    root = tmp_path / "outputs"
    root.mkdir()
    for number in range(200):
        fill(root / f"{number:03}", 5)
    assert keep(root, OutputLimits(files=12)) == OmittedOutputs(200 * 5 - 10, 0)
    assert len(left(root)) == 12


def test_listing_keeps_few_names_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(untrusted, "_NAMES_AT_ONCE", 7)
    fill(tmp_path / "outputs", 50, b"xy")
    fill(tmp_path / "outputs/inner", 50)
    fill(tmp_path / "outputs/inner/deep", 50)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert untrusted.remove_entry(fd, "outputs") == (150, 100)
    finally:
        os.close(fd)
    assert not (tmp_path / "outputs").exists()


async def test_slow_collection_does_not_delay_other_users(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight tasks whose outputs take for ever; another user's list, log and output come."""
    held = threading.Event()
    entered = threading.Semaphore(0)
    real = kept_outputs.keep

    def slow(root: Path, limits: OutputLimits) -> OmittedOutputs:
        entered.release()
        assert held.wait(2 * SECONDS)
        return real(root, limits)

    script = 'echo x > "$FETCHML_OUTPUTS/f"'
    async with box.engine(max_running=10) as engine:
        request = {"job_name": "a", "command": ["sh", "-c", script]}
        kept = await engine.submissions.create_task(BOB, request)
        kept = await ended(engine, kept.id)
        monkeypatch.setattr(kept_outputs, "keep", slow)
        try:
            attackers = [await engine.submissions.create_task(ALICE, request) for _ in range(8)]
            for _ in range(COLLECTING_THREADS):
                assert await asyncio.to_thread(entered.acquire, timeout=SECONDS)
            async with asyncio.timeout(SECONDS):
                listed = await engine.outputs.list(BOB, kept.id)
                (await engine.outputs.open(BOB, kept.id, "f")).close()
                assert await engine.logs.tail(kept) is not None
            assert [file.path for file in listed] == ["f"]
        finally:
            held.set()
        for task in attackers:
            assert (await ended(engine, task.id)).status == "completed"


def make_deep(root: Path, depth: int, files: int) -> int:
    """Make files with long names in folders with long names, nested beyond the longest path of a
    call. Returns the length of each file's path."""
    root.mkdir(parents=True)
    fd = os.open(root, untrusted.FOLDER)
    name = "d" * 250
    for _ in range(depth):
        os.mkdir(name, dir_fd=fd)
        inner = os.open(name, untrusted.FOLDER, dir_fd=fd)
        os.close(fd)
        fd = inner
    for number in range(files):
        os.close(os.open(f"{number:0250}", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    return depth * 251 + 250


async def test_list_of_long_paths_is_bounded(tmp_path: Path) -> None:
    """25 MB of paths: 4 MiB are listed, and an archive of all is refused."""
    files = TaskFiles(tmp_path)
    length = make_deep(files.outputs("t"), depth=99, files=1_000)
    listed = [file.path for file in await files.list_outputs("t", "alice")]
    assert sum(map(len, listed)) <= MOST_PATH_BYTES + length
    assert len(listed) == MOST_PATH_BYTES // length + 1
    assert [path[-4:] for path in listed[:2]] == ["0000", "0001"]
    with pytest.raises(BadRequest, match="too long"):
        await OutputArchives(files).paths("t", "alice")


async def test_list_reads_a_bounded_number_of_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(untrusted, "MOST_LISTED", 1_000)
    files = TaskFiles(tmp_path)
    for folder in range(3):
        (files.outputs("t") / f"{folder}").mkdir(parents=True)
        fill(files.outputs("t") / f"{folder}", 700)
    entries, taken = os.scandir, []

    class Counted:
        def __init__(self, fd: int) -> None:
            self._entries = entries(fd)

        def __enter__(self) -> Iterator[os.DirEntry[str]]:
            for entry in self._entries:
                taken.append(entry.name)
                yield entry

        def __exit__(self, *_: object) -> None:
            self._entries.close()

    monkeypatch.setattr(os, "scandir", Counted)
    assert 990 < len(await files.list_outputs("t", "alice")) <= 1_000 - 3
    assert len(taken) <= 1_000


async def test_lists_of_one_user_occupy_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LISTING_THREADS > 1
    files = TaskFiles(tmp_path)
    held, entered = threading.Event(), []

    def slow(root: Path, most: int) -> list[object]:
        entered.append(root)
        assert "alice" not in str(root) or held.wait(2 * SECONDS)
        return []

    monkeypatch.setattr("fetchml.files.task_files._walk", slow)
    lists = [asyncio.ensure_future(files.list_outputs(f"alice{n}", "alice")) for n in range(50)]
    try:
        async with asyncio.timeout(SECONDS):
            await files.list_outputs("bob", "bob")
        assert len([root for root in entered if "alice" in str(root)]) <= 1
    finally:
        held.set()
        await asyncio.gather(*lists)


@pytest.mark.parametrize("launcher", ["process", pytest.param("docker", marks=pytest.mark.docker)])
def test_task_with_dropped_outputs_completes_with_a_note(
    tmp_path: Path, launcher: str, request: pytest.FixtureRequest
) -> None:
    variables = {"FETCHML_TASKS_OUTPUTS_FILES": "100"}
    if launcher == "docker":
        variables |= request.getfixturevalue("containers_backend").variables
    attacked = Attacked(tmp_path / "data", launcher, **variables)
    try:
        script = 'cd "$FETCHML_OUTPUTS"; for n in $(seq 1000 1999); do : > $n; done'
        task = attacked.ended(attacked.mallory, command=["sh", "-c", script])
        assert task["status"] == "completed"
        assert task["note"] == (
            "900 output files (0.0 MiB) were not kept: they are beyond the server's [tasks] "
            "outputs_files or outputs_mb"
        )
        path = f"/v1/tasks/{task['id']}"
        assert len(attacked.ask(attacked.mallory, "GET", f"{path}/outputs").body["outputs"]) == 100
        told = attacked.ask(attacked.mallory, "GET", f"{path}/explain").body["reason"]
        assert told.startswith("It has completed. 900 output files")
        shown = attacked.server.run("show", task["id"], FETCHML_API_KEY=attacked.mallory)
        assert "900 output files" in " ".join(shown.succeeded().split())
    finally:
        attacked.close()
