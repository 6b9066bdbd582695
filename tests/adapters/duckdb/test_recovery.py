"""What lies on disk after a power loss, from another release, or under another server."""

import gzip
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import duckdb
import pytest

from fetchml.adapters.duckdb import schema
from fetchml.adapters.duckdb.recovery import HEADER_BLOCK, DatabaseFiles
from fetchml.adapters.duckdb.store import StoreUnusable
from fetchml.core.audit import Action, AuditEntry
from fetchml.core.model import Status, TaskSpec
from fetchml.files.data_dir import DataDirBusy
from fetchml.ports.store import AuditQuery, StoreDamaged, TaskQuery
from tests.support.stores import numbered, open_store, store_in

GAPS = Path(__file__).parent / "data" / "gaps.tar.gz"
"""The data directory of a server that had numbered changes which it then could not write."""
SCHEMA_1 = Path(__file__).parent / "data" / "schema-1.duckdb.gz"


async def crashed_store(folder: Path) -> Path:
    """A data directory as left by a kill -9: 20 commits in the write-ahead log, none folded."""
    async with store_in(folder / "alive") as opened:
        await opened.append(numbered(0))
        await opened.store.list_tasks(TaskQuery())
    async with store_in(folder / "alive") as opened:
        for number in range(1, 21):
            await opened.append(numbered(number))
        shutil.copytree(folder / "alive", folder / "crashed")
    return folder / "crashed"


async def count_tasks(data_dir: Path) -> int:
    async with store_in(data_dir) as opened:
        return len(opened.restored.live)


@pytest.mark.slow
@pytest.mark.parametrize("zeros", [1, 8, 4_096])
async def test_zeros_behind_the_log_are_harmless(tmp_path: Path, zeros: int) -> None:
    data_dir = await crashed_store(tmp_path)
    with DatabaseFiles.below(data_dir).wal.open("ab") as wal:
        wal.write(bytes(zeros))
    assert await count_tasks(data_dir) == 21


@pytest.mark.slow
@pytest.mark.parametrize("torn", [1, 40, 200])
async def test_torn_write_is_cut_off_and_a_copy_kept(
    tmp_path: Path, torn: int, caplog: pytest.LogCaptureFixture
) -> None:
    data_dir = await crashed_store(tmp_path)
    wal = DatabaseFiles.below(data_dir).wal
    whole = wal.read_bytes()
    while whole[-torn:].strip(b"\0") == b"":  # what is zero anyway is not torn
        torn += 1
    damaged = whole[:-torn] + bytes(torn + 4_096)
    wal.write_bytes(damaged)
    # Without a fold in between, 200 bytes are at most the last commit.
    assert await count_tasks(data_dir) in {20, 21}
    [kept] = wal.parent.glob("*.torn-*")
    assert kept.read_bytes() == damaged
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "torn write" in caplog.text
    async with store_in(data_dir) as opened:
        await opened.append(numbered(99))
    assert await count_tasks(data_dir) in {21, 22}


async def test_damage_in_the_middle_of_the_log_is_not_repaired(tmp_path: Path) -> None:
    data_dir = await crashed_store(tmp_path)
    wal = DatabaseFiles.below(data_dir).wal
    content = bytearray(wal.read_bytes())
    place = content.index(b"task-000003", 100)
    content[place] ^= 0xFF
    wal.write_bytes(content)
    with pytest.raises(StoreDamaged, match="truncate -s") as refused:
        await open_store(data_dir)
    assert wal.read_bytes() == content
    # The message's own advice works: what was written before the damage is there.
    advice = re.search(r"truncate -s (\d+)", str(refused.value))
    assert advice is not None
    os.truncate(wal, int(advice[1]))
    assert 1 <= await count_tasks(data_dir) <= 3


@pytest.mark.parametrize("block", [0, 1, 2])
async def test_torn_header_is_put_back_from_its_copy(tmp_path: Path, block: int) -> None:
    data_dir = await crashed_store(tmp_path)
    with DatabaseFiles.below(data_dir).database.open("r+b") as database:
        database.seek(block * HEADER_BLOCK)
        database.write(b"\xa5" * 512)
    assert await count_tasks(data_dir) == 21
    assert len(list((data_dir / "store").glob("header.torn-*"))) == 1


async def test_header_beyond_repair_is_refused_untouched(tmp_path: Path) -> None:
    data_dir = await crashed_store(tmp_path)
    database = DatabaseFiles.below(data_dir).database
    with database.open("r+b") as file:
        file.write(b"\xa5" * 3 * HEADER_BLOCK)
    before = database.read_bytes()
    with pytest.raises(StoreDamaged, match="from a backup"):
        await open_store(data_dir)
    assert database.read_bytes() == before
    with pytest.raises(StoreDamaged):  # and the lock was let go
        await open_store(data_dir)


@pytest.fixture
def other_program() -> Iterator[Callable[[Path], None]]:
    """Opens a file as DuckDB does, and keeps it."""
    script = (
        "import fcntl, sys; file = open(sys.argv[1], 'r+b'); fcntl.lockf(file, fcntl.LOCK_EX);"
        "print('held', flush=True); sys.stdin.read()"
    )
    started: list[subprocess.Popen[str]] = []

    def hold(file: Path) -> None:
        command = [sys.executable, "-c", script, str(file)]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
        assert started[0].stdout is not None
        assert started[0].stdout.readline() == "held\n"

    yield hold
    for process in started:
        process.communicate()


async def test_a_store_that_another_program_has_open_is_not_damaged(
    tmp_path: Path, other_program: Callable[[Path], None]
) -> None:
    data_dir = await crashed_store(tmp_path)
    database = DatabaseFiles.below(data_dir).database
    before = database.read_bytes()
    other_program(database)
    with pytest.raises(StoreUnusable, match="lost: end the program that has it open"):
        await open_store(data_dir)
    assert database.read_bytes() == before


async def test_too_few_open_files_are_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody shall put a sound store back from a backup, or start with an empty one."""
    data_dir = await crashed_store(tmp_path)
    with monkeypatch.context() as crowded:
        refusal = duckdb.IOException('Cannot open file "fetchml.duckdb.wal": Too many open files')
        crowded.setattr(duckdb, "connect", Mock(side_effect=refusal))
        with pytest.raises(StoreUnusable, match="lost: allow more open files"):
            await open_store(data_dir)
    assert not list((data_dir / "store").glob("*torn*"))
    assert await count_tasks(data_dir) == 21


async def test_missing_database_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    data_dir = await crashed_store(tmp_path)
    DatabaseFiles.below(data_dir).database.unlink()
    with pytest.raises(StoreDamaged, match="is missing"):
        await open_store(data_dir)


async def test_creation_cut_short_starts_again(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "unfinished.duckdb").write_bytes(b"half")
    (store / "unfinished.duckdb.wal").write_bytes(b"half")
    assert await count_tasks(tmp_path) == 0


async def test_newer_schema_is_refused_untouched(tmp_path: Path) -> None:
    data_dir = await crashed_store(tmp_path)
    async with store_in(data_dir) as opened:
        newer = len(schema.MIGRATIONS) + 1
        opened.store._database.cursor().execute(schema.SET_VERSION, [newer])
        shutil.copytree(data_dir, tmp_path / "newer")
    files = DatabaseFiles.below(tmp_path / "newer")
    before = files.database.read_bytes(), files.wal.read_bytes()
    assert before[1]
    with pytest.raises(StoreDamaged, match=f"schema {newer}"):
        await open_store(tmp_path / "newer")
    assert (files.database.read_bytes(), files.wal.read_bytes()) == before


async def test_database_of_schema_1_opens(tmp_path: Path) -> None:
    """The file was made by the release that first had that schema: never make it anew."""
    database = DatabaseFiles.below(tmp_path).database
    database.parent.mkdir()
    database.write_bytes(gzip.decompress(SCHEMA_1.read_bytes()))
    async with store_in(tmp_path, now_ms=lambda: 3_000) as opened:
        assert opened.restored.last_seq == 3
        first = TaskSpec("train-1", image="python", command=("python", "train.py"))
        assert opened.restored.live == [numbered(1, spec=first)]
        ended = await opened.store.get("task-000000")
        assert ended is not None
        assert (ended.status, ended.ended_at) == (Status.COMPLETED, 2_000)
        assert [key.name for key in await opened.store.list_keys()] == ["ann"]
        found = (await opened.store.find_idempotent("ann", ["key"])).get("key")
        assert found is not None
        assert found.task_id == "task-000000"
        await opened.store.put_document("kind", "id", b"data")
        assert await opened.store.list_documents("kind") == [b"data"]
        [*_, oldest] = await opened.store.list_audit(AuditQuery())
        assert (oldest.action, oldest.target, oldest.user) == ("task.create", "task-000000", "ann")
        assert (oldest.key_id, oldest.address) == (None, ""), "it was not kept then"


async def test_a_journal_with_gaps_opens_and_they_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The directory was left by a release that could do this, with a kill: never make it anew. It
    holds the changes 1, 2, 5, 6 and 8."""
    with tarfile.open(GAPS) as archive:
        archive.extractall(tmp_path, filter="data")
    async with store_in(tmp_path) as opened:
        [warning] = [each for each in caplog.records if each.levelname == "WARNING"]
        assert vars(warning)["numbers"] == "3-4, 7"
        assert opened.restored.last_seq == 8
        [found] = (await opened.store.list_tasks(TaskQuery())).tasks
        assert (found.spec.job_name, found.status) == ("before", Status.COMPLETED)
        seqs = [change.seq for change in await opened.store.changes_since(2, 10) or ()]
        assert seqs == [5, 6, 8], "a watcher goes on behind a gap"
        await opened.append(numbered(1))
    caplog.clear()
    async with store_in(tmp_path) as opened:
        assert (opened.restored.last_seq, opened.restored.live) == (9, [numbered(1)])
    assert not caplog.records, "it is told once"


async def test_a_change_and_its_audit_are_one_commit(tmp_path: Path) -> None:
    entry = AuditEntry("a", 1, Action.TASK_CANCEL, "192.0.2.7", target=numbered(0).id, user="ann")
    async with store_in(tmp_path / "alive") as opened:
        changed = opened.append(numbered(0))
        await opened.store.append_audit(entry)
        assert changed.done(), "it was handed in before"
        shutil.copytree(tmp_path / "alive", tmp_path / "crashed")
    async with store_in(tmp_path / "crashed") as opened:
        query = AuditQuery(action=Action.TASK_CANCEL)
        assert await opened.store.list_audit(query) == [entry]
        assert await opened.store.get(numbered(0).id) == numbered(0)


@pytest.fixture
def first_server(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the data directory `tmp_path`."""
    script = (
        "import sys, pathlib; from fetchml.files.data_dir import lock_data_dir;"
        "lock_data_dir(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


async def test_second_server_is_refused_with_the_pid_of_the_first(
    tmp_path: Path, first_server: "subprocess.Popen[str]"
) -> None:
    with pytest.raises(DataDirBusy, match=f"pid {first_server.pid}"):
        await open_store(tmp_path)
    first_server.kill()
    first_server.wait()
    assert await count_tasks(tmp_path) == 0  # a dead server's lock is gone with it


async def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    async with store_in(tmp_path / "data") as opened:
        await opened.append(numbered(0))
        opened.store._database.checkpoint()
        await opened.append(numbered(1))
        modes = {
            path.relative_to(tmp_path): stat.S_IMODE(path.stat().st_mode)
            for path in (tmp_path / "data", *(tmp_path / "data").rglob("*"))
        }
    assert Path("data/store/fetchml.duckdb.wal") in modes
    wrong = {path: oct(mode) for path, mode in modes.items() if mode & 0o077}
    assert not wrong
