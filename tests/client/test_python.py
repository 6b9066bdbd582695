"""fetchml.client against a live server, through a relay that cuts connections."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import aclosing, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fetchml.client import (
    AsyncClient,
    CallError,
    Client,
    CreateTaskRequest,
    DeadlineExceeded,
    NotFound,
    NotifyTarget,
    Options,
    SetupError,
    Task,
    Unauthorized,
    Unreachable,
    ValidationFailed,
    WatchTasksResponse,
    ended,
    status_name,
)
from fetchml.client.arguments import parameter
from tests.client.relay import Relay
from tests.support.cli_server import Server
from tests.support.waiting import SECONDS


@pytest.fixture
def client(relay: Relay, key: str) -> Iterator[Client]:
    with Client(relay.address, key) as made:
        yield made


def until_exists(path: Path) -> list[str]:
    """A command that waits for a file, and writes a line before and after."""
    return ["sh", "-c", f"echo one; until [ -e {path} ]; do sleep 0.05; done; echo two"]


def test_a_task_from_submit_to_delete(client: Client) -> None:
    task = client.submit("hello", command=["sh", "-c", "echo hi; echo 1 > $FETCHML_OUTPUTS/a"])
    assert task.command[0] == "sh"
    done = client.wait(task.id, timeout=SECONDS)
    assert (status_name(done), done.output) == ("completed", "hi\n")
    assert b"".join(chunk.data for chunk in client.logs(task.id)) == b"hi\n"
    assert [chunk.data for chunk in client.logs(task.id, offset=1, follow=True)] == [b"i\n"]
    assert [output.path for output in client.outputs(task.id)] == ["a"]
    assert client.explain(task.id).status == Task.completed
    assert client.queue().completed >= 1
    assert client.health()
    client.delete(task.id)
    with pytest.raises(NotFound) as gone:
        client.get(task.id)
    assert gone.value.code == "NOT_FOUND"
    assert gone.value.trace_id


def test_pages_are_read_as_the_iterator_goes(client: Client) -> None:
    held = client.submit("many-held", command=["true"], hold=True)
    made = client.submit_many(
        CreateTaskRequest(job_name=f"many-{number}", command=["true"]) for number in range(5)
    )
    for task in made:
        client.wait(task.id, timeout=SECONDS)
    states = iter(["completed"])  # Can be read once, for all pages.
    listed = client.list(job_name_prefix="many-", states=states, page_size=2)
    assert [task.id for task in listed] == [task.id for task in reversed(made)]
    page = client.page(2, 1, job_name_prefix="many-")
    assert (len(page.tasks), page.total) == (2, 6)
    client.cancel(held.id)


async def test_a_batch_whose_reply_is_lost_is_created_once(
    server: Server, relay: Relay, key: str
) -> None:
    names = [f"lost-{number}" for number in range(3)]
    direct = AsyncClient(server.grpc, key)
    async with AsyncClient(relay.address, key) as client, direct:
        await client.queue()
        relay.mute()
        sending = asyncio.create_task(
            client.submit_many(CreateTaskRequest(job_name=name) for name in names)
        )
        async with (
            asyncio.timeout(SECONDS),
            aclosing(direct.watch(job_name_prefix="lost-")) as updates,
        ):
            async for update in updates:
                if update.task.job_name == names[-1]:
                    break
        relay.up()
        made = await sending
        assert [task.job_name for task in made] == names
        assert (await direct.page(0, job_name_prefix="lost-")).total == 3


def test_a_batch_with_one_bad_task_submits_none(client: Client) -> None:
    with pytest.raises(ValidationFailed) as refused:
        client.submit_many(
            [CreateTaskRequest(job_name="good-one"), CreateTaskRequest(job_name="a b")]
        )
    assert refused.value.violations[0].field == "tasks[1].job_name"
    assert client.page(0, job_name_prefix="good-one").total == 0


def test_a_download_appears_when_it_is_complete(client: Client, tmp_path: Path) -> None:
    script = "head -c 3000000 /dev/zero > $FETCHML_OUTPUTS/zeros"
    task = client.wait(client.submit("big", command=["sh", "-c", script]).id)
    to = client.download(task.id, "zeros", tmp_path / "copy")
    assert to.read_bytes() == bytes(3_000_000)
    with pytest.raises(NotFound):
        client.download(task.id, "nothing", tmp_path / "nothing")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_a_watch_has_no_gap_and_no_repeat(client: Client, relay: Relay, tmp_path: Path) -> None:
    first = client.submit("watched", command=until_exists(tmp_path / "go"))
    seen: list[tuple[int, str, str]] = []
    cuts: list[CallError] = []
    telling = client.with_options(on_cut=cuts.append)
    with closing(telling.watch(since_seq=0, job_name_prefix="watched")) as updates:
        for update in updates:
            seen.append((update.seq, update.task.id, status_name(update.task)))
            if update.task.status == Task.running and not cuts:
                relay.cut()
                (tmp_path / "go").touch()
            if ended(update.task):
                break
    assert len(cuts) == 1
    assert isinstance(cuts[0], Unreachable)
    with closing(client.watch(since_seq=0, job_name_prefix="watched")) as updates:
        again = [
            (update.seq, update.task.id, status_name(update.task))
            for _, update in zip(seen, updates, strict=False)
        ]
    assert seen == again
    assert (seen[0][1:], seen[-1][1:]) == ((first.id, "queued"), (first.id, "completed"))


def test_a_log_resumes_at_the_next_byte(client: Client, relay: Relay, tmp_path: Path) -> None:
    task = client.submit("log", command=until_exists(tmp_path / "go"))
    read = b""
    for chunk in client.logs(task.id, follow=True):
        read += chunk.data
        if read == b"one\n":
            relay.cut()
            (tmp_path / "go").touch()
    assert read == b"one\ntwo\n"


def test_a_submit_waits_for_an_unreachable_server(client: Client, relay: Relay) -> None:
    relay.down()
    back = threading.Event()

    def on_cut(_: CallError) -> None:
        relay.up()
        back.set()

    task = client.with_options(on_cut=on_cut).submit("away", command=["true"])
    assert back.is_set()
    assert [each.id for each in client.list(job_name_prefix="away")] == [task.id]


def test_retries_end_at_the_callers_deadline(client: Client, relay: Relay) -> None:
    relay.down()
    tries: list[CallError] = []
    with pytest.raises(Unreachable, match="Cannot reach a server"):
        client.with_options(deadline=1, on_cut=tries.append).queue()
    assert tries, "it was tried again"
    tries.clear()
    with pytest.raises(Unreachable):
        client.with_options(retries=False, on_cut=tries.append).queue()
    assert not tries


def test_wait_for_an_unknown_and_an_ended_task(client: Client) -> None:
    with pytest.raises(NotFound):
        client.wait("nothing")
    task = client.wait(client.submit("over", command=["true"]).id)
    assert client.wait(task.id).id == task.id


def test_errors_have_all_details_of_the_server(server: Server, key: str) -> None:
    with Client(server.grpc, key) as client:
        with pytest.raises(ValidationFailed) as refused:
            client.submit("a b", priority=11)
        assert {each.field for each in refused.value.violations} == {"job_name", "priority"}
        assert refused.value.code == "VALIDATION_ERROR"
        assert len(str(refused.value.trace_id)) == 36
    with Client(server.grpc, "fml_wrong") as stranger:
        with pytest.raises(Unauthorized) as unknown:
            stranger.queue()
        assert "fml_wrong" not in f"{unknown.value!r} {unknown.value}"
        assert stranger.health(), "needs no key"


@pytest.mark.slow
def test_a_busy_server_is_retried_after_its_delay(tmp_path: Path) -> None:
    limits = {"FETCHML_RATE_LIMIT_PER_SECOND": "5", "FETCHML_RATE_LIMIT_BURST": "5"}
    server = Server(tmp_path / "data", **limits).start()
    key = (server.data_dir / "admin.key").read_text().strip()
    asked: list[CallError] = []
    with Client(server.grpc, key, options=Options(on_cut=asked.append)) as client:
        for _ in range(8):
            client.queue()
    assert {(each.code, each.retry_after) for each in asked} == {("RATE_LIMITED", 1.0)}
    assert server.stop() == 0


@pytest.mark.parametrize("server", ["ftp://localhost:1", "https://localhost:1/x", "https://", ""])
def test_a_malformed_address_is_refused(server: str) -> None:
    with pytest.raises(SetupError, match="is not a server address"):
        Client(server, "")


def test_a_waiting_task_is_changed(client: Client) -> None:
    task = client.submit("changes", command=["true"], hold=True, metadata={"a": "1"})
    target = NotifyTarget(url="https://hooks.example.com/a", on=["failed"])
    changed = client.update(task.id, priority=9, notify=[target])
    assert (changed.priority, changed.held, dict(changed.metadata)) == (9, True, {"a": "1"})
    assert [list(each.on) for each in changed.notify] == [[NotifyTarget.failed]]
    assert client.update(task.id, metadata={"b": "2"}).notify == changed.notify
    assert not client.update(task.id, notify=[]).notify
    url = "https://hooks.example.com/b"
    changed = client.update(task.id, notify=[{"url": url, "on": ["idle"]}])
    assert [list(each.on) for each in changed.notify] == [[NotifyTarget.idle]]
    other = client.submit("notifies", command=["true"], hold=True, notify=[url])
    assert other.notify[0].url == "https://hooks.example.com/…"
    later = datetime(2100, 1, 1, tzinfo=UTC)
    assert client.update(task.id, start_after=later).start_after.ToDatetime(UTC) == later
    with pytest.raises(ValidationFailed, match="names no field that can be changed"):
        client.update(task.id)
    client.cancel(task.id)


# The asyncio client


async def test_many_waits_in_one_loop_resume_after_a_cut(
    relay: Relay, key: str, tmp_path: Path
) -> None:
    cuts: list[CallError] = []
    async with AsyncClient(relay.address, key, options=Options(on_cut=cuts.append)) as client:
        tasks = [
            await client.submit(f"async-{number}", command=until_exists(tmp_path / "go"))
            for number in range(3)
        ]
        running = asyncio.Event()

        async def follow(task_id: str) -> bytes:
            read = b""
            async for chunk in client.logs(task_id, follow=True):
                read += chunk.data
                running.set()
            return read

        async with asyncio.TaskGroup() as group:
            logs = [group.create_task(follow(task.id)) for task in tasks]
            waits = [group.create_task(client.wait(task.id, timeout=SECONDS)) for task in tasks]
            await running.wait()
            relay.cut()
            (tmp_path / "go").touch()
        assert {status_name(wait.result()) for wait in waits} == {"completed"}
        assert [log.result() for log in logs] == [b"one\ntwo\n"] * 3
        assert cuts
        listed = [task.id async for task in client.list(job_name_prefix="async-", page_size=2)]
        assert listed == [task.id for task in reversed(tasks)]


async def test_the_queue_and_the_gpus_are_sent_again_after_a_cut(relay: Relay, key: str) -> None:
    cuts: list[CallError] = []
    async with (
        AsyncClient(relay.address, key, options=Options(on_cut=cuts.append)) as client,
        aclosing(client.watch_queue()) as stats,
        aclosing(client.watch_gpus()) as gpus,
    ):
        before = await anext(stats)
        await anext(gpus)
        relay.cut()
        assert await anext(gpus) == await client.gpus()
        assert await anext(stats) == before
        task = await client.submit("one-more", command=["true"])
        await client.wait(task.id)
        while (await anext(stats)).completed == before.completed:
            pass
    assert cuts


async def test_a_watch_can_be_closed_and_a_wait_times_out(server: Server, key: str) -> None:
    async with AsyncClient(server.grpc, key) as client:
        task = await client.submit("asleep", command=["sleep", "60"])
        async with aclosing(client.watch(job_name_prefix="asleep")) as updates:
            first = await anext(updates)
        assert (first.type, first.task.id) == (WatchTasksResponse.snapshot, task.id)
        with pytest.raises(TimeoutError):
            await client.wait(task.id, timeout=0.3)
        assert not ended(await client.get(task.id))
        await client.cancel(task.id)
        assert (await client.wait(task.id)).failure_reason == Task.CANCELLED


async def test_async_upload_and_download(server: Server, key: str, tmp_path: Path) -> None:
    (tmp_path / "train.sh").write_text("echo $LR > $FETCHML_OUTPUTS/lr")
    async with AsyncClient(server.grpc, key) as client:
        kept = await client.upload(tmp_path)
        command = ["sh", "train.sh"]
        task = await client.submit("lr", snapshot_id=kept.id, command=command, env={"LR": "0.1"})
        await client.wait(task.id)
        copy = await client.download(task.id, "lr", tmp_path / "copy")
        assert copy.read_text() == "0.1\n"
        assert await client.health()


async def test_an_async_call_to_a_silent_server_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        async with AsyncClient(address, "", options=Options(deadline=0.5)) as client:
            with pytest.raises((DeadlineExceeded, Unreachable)):
                await client.queue()


@pytest.mark.parametrize("values", [[], 5, "text", [None]])
def test_values_that_are_no_list_of_values(values: Any) -> None:
    with pytest.raises(ValueError, match="of a parameter must be"):
        parameter(values)
