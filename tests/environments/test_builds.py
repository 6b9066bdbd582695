"""Environments are built once, for the users who may have them, by a builder that tests steer."""

import asyncio
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from fetchml.core.model import Environment
from fetchml.core.storage import NOTHING, Kind
from fetchml.ports.environment_builder import SOURCE, BuildFailed
from fetchml.ports.launcher import PrepareError
from tests.environments.bench import OWNER, Bench
from tests.support.waiting import soon, until_true


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_built_once_however_many_ask(bench: Bench) -> None:
    code = bench.snapshot(requirements_txt=b"a==1\n")
    bench.builder.go.clear()
    asking = [asyncio.create_task(bench.provide(bench.task(f"t{n}", code))) for n in range(20)]
    await until_true(lambda: bool(bench.builder.began))
    bench.builder.go.set()
    assert await soon(asyncio.gather(*asking)) == ["installed"] * 20
    assert len(bench.builder.began) == 1
    # Also for other code with the same packages, and it gets no other file of the snapshot.
    more = bench.snapshot(requirements_txt=b"a==1\n", train_py=b"print()")
    assert await bench.provide(bench.task("more", more)) == "installed"
    assert len(bench.builder.began) == 1


async def test_build_gets_only_the_files_that_it_reads(bench: Bench) -> None:
    code = bench.snapshot(requirements_txt=b"-r more.txt\n", more_txt=b"a\n", key_pem=b"secret")
    bench.builder.go.clear()
    asking = asyncio.create_task(bench.provide(bench.task("t", code)))
    await until_true(lambda: bool(bench.builder.began))
    [build] = bench.builder.began
    names = {path.name for path in (build.folder / SOURCE).iterdir()}
    assert names == {"requirements.txt", "more.txt"}
    bench.builder.go.set()
    await soon(asking)
    tree = bench.snapshot(requirements_txt=b"./lib.whl\n", lib_whl=b"0", other_py=b"1")
    bench.builder.go.clear()
    asking = asyncio.create_task(bench.provide(bench.task("u", tree)))
    await until_true(lambda: len(bench.builder.began) == 2)
    names = {path.name for path in (bench.builder.began[1].folder / SOURCE).iterdir()}
    assert names == {"requirements.txt", "lib.whl", "other.py"}
    bench.builder.go.set()
    await soon(asking)


async def test_no_user_gets_the_build_of_another(bench: Bench) -> None:
    code = bench.snapshot(requirements_txt=b"a==1\n")
    assert await bench.provide(bench.task("bobs", code)) == "installed"
    bench.builder.content = "another"
    assert await bench.provide(bench.task("evas", code, user="eva")) == "another"
    assert await bench.provide(bench.task("bobs again", code)) == "installed"
    first, second = bench.builder.began
    assert first.cache != second.cache
    assert bench.usage.used_by("bob") != {} != bench.usage.used_by("eva")


@pytest.mark.parametrize("what", ["content", "image"])
async def test_built_again_if_it_would_differ(bench: Bench, what: str) -> None:
    code = bench.snapshot(requirements_txt=b"a==1\n")
    await bench.provide(bench.task("one", code))
    bench.builder.content = "new"
    if what == "content":
        code = bench.snapshot(requirements_txt=b"a==2\n")
    else:
        bench.builder.image = "image 2"
    assert await bench.provide(bench.task("two", code)) == "new"


async def test_failure_is_in_uvs_words_and_not_kept(bench: Bench) -> None:
    code = bench.snapshot(requirements_txt=b"a==99\n")
    words = b"Using Python 3\n\x1b[31merror: No solution found\n  cause: there is no a==99\n"
    bench.builder.failure = BuildFailed(1, words)
    for name in ("one", "two"):
        with pytest.raises(PrepareError) as raised:
            await bench.provide(bench.task(name, code))
        assert raised.value.permanent
        assert str(raised.value) == (
            "requirements.txt: uv: [31mNo solution found cause: there is no a==99"
        ).replace("[31m", "")
    bench.builder.failure = BuildFailed(2, b"error: Failed to fetch: https://u:pw@example.org/a")
    with pytest.raises(PrepareError) as raised:
        await bench.provide(bench.task("three", code))
    assert not raised.value.permanent
    assert "pw" not in str(raised.value)
    bench.builder.failure = None
    assert await bench.provide(bench.task("four", code)) == "installed"
    assert list((bench.cache.folder / "new").iterdir()) == []


async def test_progress_shows_no_password(bench: Bench) -> None:
    """A package's build may print the address of the index."""
    bench.builder.line = "index http://reader:pass@word@index.example/simple, and more"
    told: list[str] = []
    task = bench.task("a", bench.snapshot(requirements_txt=b"tiny"))
    await soon(bench.environments.provide(task, OWNER, told.append))
    shown = "building the environment: index http://***@index.example/simple, and more"
    assert shown in told
    assert not re.search("pass|word", " ".join(told))


async def test_hostile_output_is_bounded(bench: Bench) -> None:
    code = bench.snapshot(requirements_txt=b"a\n")
    bench.builder.failure = BuildFailed(1, b"\xff\x1b]0;title\x07 error " * 10_000)
    with pytest.raises(PrepareError) as raised:
        await bench.provide(bench.task("one", code))
    assert len(str(raised.value)) < 2000
    assert "\x1b" not in str(raised.value)


async def test_build_without_waiters_ends(bench: Bench) -> None:
    code = bench.snapshot(requirements_txt=b"a\n")
    bench.builder.go.clear()
    asking = [asyncio.create_task(bench.provide(bench.task(f"t{n}", code))) for n in range(2)]
    await until_true(lambda: bool(bench.builder.began))
    await until_true(lambda: len(next(iter(bench.builds._flights.values()))[0].attempts) == 2)
    asking[0].cancel()
    await asyncio.gather(asking[0], return_exceptions=True)
    assert bench.builder.ended == 0
    asking[1].cancel()
    await asyncio.gather(asking[1], return_exceptions=True)
    assert bench.builder.ended == 1
    assert list((bench.cache.folder / "new").iterdir()) == []
    bench.builder.go.set()
    assert await bench.provide(bench.task("later", code)) == "installed"


async def test_cancelled_copy_of_the_snapshot_leaves_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = bench.snapshot(requirements_txt=b"./lib.whl\n", lib_whl=b"0")
    began, go = threading.Event(), threading.Event()
    copy_to = bench.snapshots.copy_to

    def slow(*arguments: Any) -> None:
        began.set()
        go.wait()
        copy_to(*arguments)

    monkeypatch.setattr(bench.snapshots, "copy_to", slow)
    asking = asyncio.create_task(bench.provide(bench.task("t", code)))
    await until_true(began.is_set)
    asking.cancel()
    asyncio.get_running_loop().call_later(0.01, go.set)
    await asyncio.gather(asking, return_exceptions=True)
    assert bench.builder.began == []
    assert list((bench.cache.folder / "new").iterdir()) == []


async def test_uvs_cache_is_counted_also_after_failures(bench: Bench) -> None:
    code = bench.snapshot(requirements_txt=b"a\n")
    bench.builder.cached_bytes = 1_000_000
    bench.builder.failure = BuildFailed(1, b"error: no")
    with pytest.raises(PrepareError):
        await bench.provide(bench.task("one", code))
    assert sum(used.bytes for used in bench.usage.used_by("bob").values()) > 1_000_000
    bench.builder.go.clear()
    asking = asyncio.create_task(bench.provide(bench.task("two", code)))
    await until_true(lambda: len(bench.builder.began) == 2)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert sum(used.bytes for used in bench.usage.used_by("bob").values()) > 2_000_000


async def test_uvs_cache_of_failed_builds_makes_room(tmp_path: Path) -> None:
    bench = Bench(tmp_path, most_bytes=100_000)
    code = bench.snapshot(requirements_txt=b"a\n")
    bench.builder.cached_bytes = 1_000_000
    bench.builder.failure = BuildFailed(1, b"error: no")
    with pytest.raises(PrepareError):
        await bench.provide(bench.task("one", code))
    assert bench.usage.used_by("bob").get(Kind.ENVIRONMENTS, NOTHING) == NOTHING
    assert list((bench.cache.folder / "packages").iterdir()) == []


@pytest.mark.parametrize("where", ["cache", "source"])
async def test_build_that_fills_the_disk_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr("fetchml.environments.builds._LOOK_SECONDS", 0.01)
    bench = Bench(tmp_path, most_bytes=500_000)
    code = bench.snapshot(requirements_txt=b"a\n")
    bench.builder.go.clear()
    bench.builder.cached_bytes = 1_000_000 if where == "cache" else 0
    asking = asyncio.create_task(bench.provide(bench.task("one", code)))
    if where == "source":
        await until_true(lambda: bool(bench.builder.began))
        (bench.builder.began[0].folder / SOURCE / "file").write_bytes(b"0" * 1_000_000)
    with pytest.raises(PrepareError, match="larger than the server's cache"):
        await soon(asking)
    assert bench.builder.ended == 1


async def test_environment_with_too_many_files_to_count(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fetchml.environments.builds.MOST_ENTRIES", 10)
    code = bench.snapshot(requirements_txt=b"a\n")
    bench.builder.files = 10
    with pytest.raises(PrepareError, match="more than 10 files") as raised:
        await bench.provide(bench.task("one", code))
    assert raised.value.permanent
    assert bench.cache.records() == []


async def test_attempt_that_leaves_at_the_end_holds_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = bench.snapshot(requirements_txt=b"a\n")
    began, go = threading.Event(), threading.Event()
    hold = bench.cache.hold

    def slow(environment_id: str, attempt: str) -> Path | None:
        if attempt == "leaves-1" and bench.cache.records():
            began.set()
            go.wait()
        return hold(environment_id, attempt)

    monkeypatch.setattr(bench.cache, "hold", slow)
    bench.builder.go.clear()
    stays, leaves = bench.task("stays", code), bench.task("leaves", code)
    staying = asyncio.create_task(bench.provide(stays))
    leaving = asyncio.create_task(bench.provide(leaves))
    await until_true(lambda: bool(bench.builder.began))
    await until_true(lambda: len(next(iter(bench.builds._flights.values()))[0].attempts) == 2)
    bench.builder.go.set()
    await until_true(began.is_set)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    bench.cache.release("leaves-1")  # As its runner does, but the cache holds it a moment later.
    go.set()
    await soon(staying)
    await bench.environments.release(stays)
    [record] = bench.cache.records()
    assert record.id not in bench.cache.use_counts()


async def test_leftovers_are_removed_once_earlier_builds_have_ended(bench: Bench) -> None:
    draft = bench.cache.draft()
    bench.cache.begin(draft, OWNER, {})
    await bench.environments.open(frozenset(), "instance")
    code = bench.snapshot(requirements_txt=b"a\n")
    assert await bench.provide(bench.task("one", code)) == "installed"
    assert draft.exists()
    bench.builder.earlier.set()
    await until_true(lambda: not draft.exists())
    await bench.environments.close()


async def test_counts(tmp_path: Path) -> None:
    bench = Bench(tmp_path, most_bytes=1 << 40)
    code = bench.snapshot(requirements_txt=b"tiny")
    bench.builder.go.clear()
    asking = [asyncio.create_task(bench.provide(bench.task(name, code))) for name in "ab"]
    await until_true(lambda: bench.builder.began and bench.environments.counts().misses == 2)
    counts = bench.environments.counts()
    assert (counts.built, counts.building, counts.hits) == (0, 1, 0)
    bench.builder.go.set()
    await asyncio.gather(*asking)
    await bench.provide(bench.task("c", code))
    counts = bench.environments.counts()
    assert (counts.built, counts.building, counts.hits, counts.misses) == (1, 0, 1, 2)
    assert counts.bytes == bench.cache.size() > 0
    bench.builder.failure = BuildFailed(1, b"error: none")
    other = bench.task("d", bench.snapshot(requirements_txt=b"other"))
    with pytest.raises(PrepareError):
        await bench.provide(other)
    assert bench.environments.counts()[:1] + bench.environments.counts()[3:6] == (1, 1, 3, 1)
    for name in "abc":
        await bench.environments.release(bench.task(name, code))
    bench.cache.most_bytes = 0
    assert bench.cache.make_room(bench.builds.is_busy) == 0
    counts = bench.environments.counts()
    assert (counts.built, counts.bytes, counts.evicted) == (0, 0, 1)


async def test_cache_that_is_too_small(tmp_path: Path) -> None:
    bench = Bench(tmp_path, most_bytes=1)
    code = bench.snapshot(requirements_txt=b"a\n")
    with pytest.raises(PrepareError, match="cache_bytes") as raised:
        await bench.provide(bench.task("one", code))
    assert not raised.value.permanent
    assert bench.cache.records() == []


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train_py": b""}, "requirements.txt: file not found in the snapshot"),
        ({"requirements_txt": b"-e .\n"}, "requirements.txt: line 1: editable"),
        ({"requirements_txt": b"-r more.txt"}, "more.txt: file not found in the snapshot"),
        ({"requirements_txt": b"-r ../../etc/passwd"}, "does not lie in the snapshot"),
        ({"requirements_txt": b"a" * (1 << 20) + b"b"}, "larger than 1 MiB"),
    ],
)
async def test_refused_at_the_submit(bench: Bench, files: dict[str, bytes], message: str) -> None:
    code = bench.snapshot(**files)
    fault = await bench.environments.fault(
        "bob", code, Environment(requirements="requirements.txt")
    )
    assert message in (fault or "")


async def test_link_is_not_followed(bench: Bench, tmp_path: Path) -> None:
    code = bench.snapshot(requirements_txt=b"a\n")
    file = tmp_path / "snapshots" / code / "tree" / "requirements.txt"
    file.unlink()
    file.symlink_to("/etc/passwd")
    fault = await bench.environments.fault(
        "bob", code, Environment(requirements="requirements.txt")
    )
    assert fault == "requirements.txt: is not a regular file of the snapshot"
