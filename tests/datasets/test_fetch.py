"""Fetches from an origin that misbehaves."""

import asyncio
import errno
import os
import socket
import threading
import time
from typing import Any

import pytest

from fetchml.core.addresses import AddressRules
from fetchml.core.model import DatasetSpec
from fetchml.ports.launcher import PrepareError
from tests.datasets.conftest import Box, sha256, task_of
from tests.datasets.origin import File, OriginServer, Request, send_head
from tests.support.waiting import SECONDS

CONTENT = os.urandom(300_000)
SUM = sha256(CONTENT)


def spec(origin: OriginServer, **fields: Any) -> DatasetSpec:
    return DatasetSpec(source=origin.url("/d/rows.csv"), **fields)


async def failure(box: Box, *specs: DatasetSpec) -> PrepareError:
    with pytest.raises(PrepareError) as caught:
        await box.give(await box.open(), *specs)
    box.check_nothing_is_left_over()
    assert box.cached == set()
    return caught.value


async def test_a_dataset_with_a_checksum_is_fetched_only_once(
    box: Box, origin: OriginServer
) -> None:
    origin.answers["/d/rows.csv"] = File(CONTENT)
    for number in range(2):
        datasets = await box.open()
        (path,) = await box.give(datasets, spec(origin, sha256=SUM.upper()), name=f"t{number}")
        assert path.read_bytes() == CONTENT
        assert path.stat().st_mode & 0o777 == 0o444
    assert len(origin.requests) == 1
    assert box.cached == {SUM}
    box.check_nothing_is_left_over()


async def test_a_dataset_without_a_checksum_is_revalidated(box: Box, origin: OriginServer) -> None:
    file = origin.answers["/d/rows.csv"] = File(CONTENT)
    datasets = await box.open()
    await box.give(datasets, spec(origin))
    datasets = await box.open()
    (same,) = await box.give(datasets, spec(origin), name="t2")
    assert same.read_bytes() == CONTENT
    assert origin.requests[1].headers["if-none-match"] == '"1"'
    file.content, file.etag = b"other", '"2"'
    (other,) = await box.give(datasets, spec(origin), name="t3")
    assert (other.read_bytes(), same.read_bytes()) == (b"other", CONTENT)


@pytest.mark.parametrize("etag", ["\udcff", "x" * 2000, "\u202e"])
async def test_an_oversized_version_is_ignored(box: Box, origin: OriginServer, etag: str) -> None:
    """It harms neither its own dataset nor those that come after it."""
    origin.answers["/d/rows.csv"] = File(CONTENT, etag)
    origin.answers["/d/good.csv"] = File(CONTENT)
    datasets = await box.open()
    for number, name in enumerate(("rows.csv", "good.csv", "rows.csv")):
        source = DatasetSpec(name="d", source=f"http://127.0.0.1:{origin.port}/d/{name}")
        (path,) = await box.give(datasets, source, name=f"t{number}")
        assert path.read_bytes() == CONTENT
    assert "if-none-match" not in origin.requests[2].headers


async def test_a_shared_fetch_shows_each_task_its_own_name(box: Box, origin: OriginServer) -> None:
    file = origin.answers["/d/rows.csv"] = File(CONTENT)
    file.hold = asyncio.Event()
    datasets = await box.open()
    said: dict[str, list[str]] = {"mine": [], "secret": []}
    fetching = [
        asyncio.create_task(
            datasets.provide(task_of(spec(origin, name=name), name=name), said[name].append)
        )
        for name in ("secret", "mine")
    ]
    await asyncio.wait_for(origin.was_asked.wait(), SECONDS)
    file.hold.set()
    await asyncio.gather(*fetching)
    assert len(origin.requests) == 1
    assert said["mine"]
    assert all("fetching mine" in sentence for sentence in said["mine"])
    assert all("fetching secret" in sentence for sentence in said["secret"])


async def test_a_fetch_ends_when_nobody_waits_for_it(box: Box, origin: OriginServer) -> None:
    file = origin.answers["/d/rows.csv"] = File(CONTENT)
    file.hold = asyncio.Event()
    datasets = await box.open()
    giving = asyncio.create_task(box.give(datasets, spec(origin)))
    await asyncio.wait_for(origin.was_asked.wait(), SECONDS)
    giving.cancel()
    await asyncio.gather(giving, return_exceptions=True)
    box.check_nothing_is_left_over()


async def test_a_wrong_checksum_is_reported_with_both_sums(box: Box, origin: OriginServer) -> None:
    origin.answers["/d/rows.csv"] = File(CONTENT)
    error = await failure(box, spec(origin, name="mnist", sha256="0" * 64))
    assert str(error) == f"dataset 'mnist': SHA-256 mismatch: got {SUM}, expected {'0' * 64}"
    assert error.permanent


async def test_a_fetch_resumes_after_a_cut(box: Box, origin: OriginServer) -> None:
    content = os.urandom(6_000_000)
    file = origin.answers["/d/rows.csv"] = File(content)
    file.cuts = [2_000_000, 2_000_000, 0]
    (path,) = await box.give(await box.open(), spec(origin))
    assert path.read_bytes() == content
    first, second, third, fourth = (request.headers.get("range") for request in origin.requests)
    assert first is None
    assert second is not None
    assert third is not None
    assert 500_000 < int(second[6:-1]) < int(third[6:-1]) <= 4_000_000
    assert fourth == third
    assert any("to be tried again: connection lost" in said for said in box.said)


@pytest.mark.parametrize("etag", ['"1"', None])
async def test_a_content_changed_after_a_cut_is_fetched_anew(
    box: Box, origin: OriginServer, etag: str | None
) -> None:
    file = origin.answers["/d/rows.csv"] = File(b"a" * 1000, etag)
    file.cuts = [500]

    def change() -> None:
        file.content = b"b" * 1000
        file.etag = '"2"' if etag else None

    file.on_cut = change
    (path,) = await box.give(await box.open(), spec(origin))
    # What was cut had been read before it changed.
    assert path.read_bytes() == b"b" * 1000


async def test_a_changed_content_under_its_old_tag_fails_the_checksum(
    box: Box, origin: OriginServer
) -> None:
    file = origin.answers["/d/rows.csv"] = File(b"a" * 1000)
    file.cuts = [500]
    file.on_cut = lambda: setattr(file, "content", b"b" * 1000)
    error = await failure(box, spec(origin, sha256=sha256(b"a" * 1000)))
    assert "SHA-256 mismatch" in str(error)


async def test_a_wrong_length_is_reported(box: Box, origin: OriginServer) -> None:
    file = origin.answers["/d/rows.csv"] = File(b"a" * 1000)
    file.announced = 2000
    error = await failure(box, spec(origin))
    assert "connection lost" in str(error)
    assert not error.permanent
    assert 5 <= len(origin.requests) <= 10


async def test_a_huge_length_is_rejected_before_anything_is_written(
    box: Box, origin: OriginServer
) -> None:
    box.most_bytes = 1 << 30
    file = origin.answers["/d/rows.csv"] = File(b"a")
    file.announced = 1 << 40
    error = await failure(box, spec(origin))
    assert "larger than the server's cache of 1.1 GB" in str(error)
    assert error.permanent


async def test_without_a_length_it_ends_with_the_last_chunk(box: Box, origin: OriginServer) -> None:
    async def chunked(request: Request, writer: asyncio.StreamWriter) -> None:
        send_head(writer, 200, {"Transfer-Encoding": "chunked"})
        writer.write(b"5\r\nhello\r\n0\r\n\r\n" if len(origin.requests) > 1 else b"5\r\nhel")

    origin.answers["/d/rows.csv"] = chunked
    (path,) = await box.give(await box.open(), spec(origin))
    assert path.read_bytes() == b"hello"
    assert len(origin.requests) == 2


async def test_a_stalled_origin_is_retried(box: Box, origin: OriginServer) -> None:
    box.stall_seconds = 0.05
    file = origin.answers["/d/rows.csv"] = File(CONTENT)
    file.hold = asyncio.Event()
    error = await failure(box, spec(origin))
    assert str(error) == "dataset 'rows.csv': timed out: no data received"
    assert len(origin.requests) == 5


async def test_a_slow_fetch_shows_progress_and_holds_up_no_other(
    box: Box, origin: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fetchml.datasets.fetch.PROGRESS_SECONDS", 0.05)
    quick_came = asyncio.Event()

    async def slow(request: Request, writer: asyncio.StreamWriter) -> None:
        send_head(writer, 200, {"Content-Length": "3000000"})
        for piece in range(30):
            writer.write(bytes(100_000))
            await writer.drain()
            await asyncio.sleep(0.01)
            if piece == 20:
                await quick_came.wait()

    origin.answers["/d/rows.csv"] = slow
    origin.answers["/quick"] = File(b"quick")
    datasets = await box.open()
    began = time.monotonic()
    giving = asyncio.create_task(box.give(datasets, spec(origin, name="mnist"), name="slow"))
    await asyncio.wait_for(origin.was_asked.wait(), SECONDS)
    await box.give(datasets, DatasetSpec(source=origin.url("/quick")), name="quick")
    assert not giving.done()
    quick_came.set()
    await giving
    told = [said for said in box.said if "% of 3.0 MB" in said]
    assert told[0].startswith("fetching mnist: ")
    assert 2 <= len(told) <= (time.monotonic() - began) / 0.05 + 1


@pytest.mark.parametrize(
    ("status", "permanent", "requests"), [(404, True, 1), (403, True, 1), (503, False, 5)]
)
async def test_rejections_of_the_origin_are_reported(
    box: Box, origin: OriginServer, status: int, permanent: bool, requests: int
) -> None:
    async def refuse(request: Request, writer: asyncio.StreamWriter) -> None:
        send_head(writer, status, {"Content-Length": "0"})

    origin.answers["/d/rows.csv"] = refuse
    error = await failure(box, spec(origin))
    assert f"127.0.0.1 returned {status}" in str(error)
    assert (error.permanent, len(origin.requests)) == (permanent, requests)


async def test_an_unreachable_origin_is_reported(box: Box) -> None:
    error = await failure(box, DatasetSpec(name="d", source="http://127.0.0.1:1/secret?sign=key"))
    assert "cannot reach 127.0.0.1" in str(error)
    assert "key" not in str(error), "a signed URL is a secret"


def redirect(to: str) -> Any:
    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        send_head(writer, 302, {"Location": to, "Content-Length": "0"})

    return answer


async def test_redirects_are_followed(box: Box, origin: OriginServer) -> None:
    origin.answers["/d/rows.csv"] = redirect("../other")
    origin.answers["/other"] = redirect(origin.url("/there?a=%2F"))
    origin.answers["/there"] = File(CONTENT)
    (path,) = await box.give(await box.open(), spec(origin, sha256=SUM))
    assert path.read_bytes() == CONTENT
    assert origin.requests[-1].path == "/there?a=%2F"


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("http://localhost:{port}/x", "localhost has a private or local address"),
        ("http://[::1]:{port}/x", "::1 has a private or local address"),
        ("http://169.254.169.254/latest/meta-data", "private or local address"),
        ("http://2130706433:{port}/x", "private or local address"),
        ("file:///etc/passwd", "redirect to file://"),
        ("https://127.0.0.1:{port}/x", "redirect to https://"),
        ("/d/rows.csv", "redirect limit (5) reached"),
        ("http://[bad", "redirect to an invalid URL"),
        ("http://h:99999/", "redirect to an invalid URL"),
        ("http://\u2048x/", "redirect to an invalid URL"),
    ],
)
async def test_redirects_must_lead_to_allowed_sources(
    box: Box, origin: OriginServer, to: str, said: str
) -> None:
    origin.answers["/d/rows.csv"] = redirect(to.format(port=origin.port))
    error = await failure(box, spec(origin))
    assert said in str(error)
    assert error.permanent
    assert {request.path for request in origin.requests} == {"/d/rows.csv"}


async def test_a_name_is_resolved_once_and_the_connection_goes_there(
    box: Box, origin: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = socket.getaddrinfo, list[str]()

    def rebinding(host: str, *args: Any, **options: Any) -> Any:
        asked.append(host)
        return real("127.0.0.1" if len(asked) == 1 else "192.0.2.1", *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    box.rules = AddressRules(allow_hosts=frozenset({"data.test"}))
    origin.answers["/x"] = File(CONTENT)
    url = f"http://data.test:{origin.port}/x"
    (path,) = await box.give(await box.open(), DatasetSpec(source=url))
    assert path.read_bytes() == CONTENT
    assert asked == ["data.test"]


async def test_a_name_server_that_does_not_answer_holds_up_no_other_fetch(
    box: Box, origin: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, answers = socket.getaddrinfo, threading.Event()

    def stalling(host: str, *args: Any, **options: Any) -> Any:
        if host.startswith("slow"):
            answers.wait(2 * SECONDS)
        return real(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", stalling)
    origin.answers["/d/rows.csv"] = File(CONTENT)
    datasets = await box.open()
    slow = [
        asyncio.create_task(box.give(datasets, DatasetSpec(source=f"http://slow{n}.test/x")))
        for n in range(40)
    ]
    try:
        await box.until_said(len(slow))
        (path,) = await asyncio.wait_for(box.give(datasets, spec(origin), name="other"), SECONDS)
        assert path.read_bytes() == CONTENT
        await asyncio.wait_for(asyncio.to_thread(int), SECONDS)
    finally:
        for task in slow:
            task.cancel()
        answers.set()
        await asyncio.gather(*slow, return_exceptions=True)


async def test_a_slow_reply_head_is_cut_off(box: Box, origin: OriginServer) -> None:
    async def drips(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    box.stall_seconds = 0.1
    origin.answers["/d/rows.csv"] = drips
    error = await failure(box, spec(origin))
    assert "no response from 127.0.0.1" in str(error)
    assert not error.permanent


async def test_a_version_that_cannot_be_stored_fails_no_task(
    box: Box, origin: OriginServer
) -> None:
    origin.answers["/d/rows.csv"] = File(CONTENT)
    datasets = await box.open()
    (box.cache_folder / "versions.new").mkdir()
    (path,) = await box.give(datasets, spec(origin))
    assert path.read_bytes() == CONTENT


async def test_a_failing_disk_is_reported(
    box: Box, origin: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    origin.answers["/d/rows.csv"] = File(CONTENT)
    error = await failure(box, spec(origin))
    assert str(error) == "dataset 'rows.csv': cannot store it: Input/output error"


@pytest.mark.usefixtures("resolver")
async def test_private_names_cannot_be_told_from_unknown_ones(box: Box) -> None:
    box.rules = AddressRules()
    found = set[tuple[str, bool]]()
    for host in ("private.example", "unknown.example"):
        error = await failure(box, DatasetSpec(source=f"http://{host}/rows.csv"))
        found.add((str(error).replace(host, "HOST"), error.permanent))
    [(said, _)] = found
    assert said == "dataset 'rows.csv': HOST has no allowed address"


async def test_private_addresses_may_be_allowed(box: Box, origin: OriginServer) -> None:
    origin.answers["/d/rows.csv"] = File(CONTENT)
    box.rules = AddressRules()
    assert "private or local" in str(await failure(box, spec(origin)))
    box.rules = AddressRules(allow_private=True)
    await box.give(await box.open(), spec(origin))
