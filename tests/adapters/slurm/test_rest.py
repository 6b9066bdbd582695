"""slurmrestd of several versions, and replies that are not what they should be."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from fetchml.adapters.slurm import rest
from fetchml.adapters.slurm.commands import CliTransport
from fetchml.adapters.slurm.job import ArrayTask, Submission
from fetchml.adapters.slurm.rest import VERSIONS, RestTransport
from fetchml.adapters.slurm.tokens import Tokens
from fetchml.adapters.slurm.transport import Refused, SlurmAway
from testbed.slurm import CLUSTER, Slurm
from tests.support.waiting import soon

JOB = {
    "job_id": 7,
    "name": "own",
    "job_state": ["PENDING"],
    "state_reason": "Resources",
    "nodes": "",
    "exit_code": {"return_code": {"set": False, "infinite": False, "number": 0}},
    "start_time": {"set": True, "infinite": False, "number": 1_790_000_000},
}


class Stub:
    """slurmrestd of one version. v0.0.40 has no /jobs/state/."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.token = "first"
        self.full = False
        self.submitted: list[dict[str, Any]] = []

    async def answer(self, request: web.Request) -> web.Response:
        parts = request.path.split("/")
        if parts[2] != self.version:
            return web.json_response({}, status=404)
        if request.headers["X-SLURM-USER-TOKEN"] != self.token:
            errors = [{"error_number": 1007, "error": "Protocol authentication error"}]
            return web.json_response({"errors": errors}, status=511)
        reply: dict[str, Any]
        match "/".join(parts[3:]).strip("/"), request.method:
            case "ping", _:
                reply = {"pings": [{"pinged": "UP"}], "meta": {"slurm": {"release": "24.11.5"}}}
            case "job/submit", "POST":
                if self.full:
                    errors = [{"error_number": 11, "error": "Resource temporarily unavailable"}]
                    return web.json_response({"errors": errors}, status=500)
                self.submitted.append(await request.json())
                reply = {"job_id": 7, "step_id": "batch", "errors": [], "warnings": []}
            case "jobs/state", _ if self.version != "v0.0.40":
                reply = {"jobs": [{"job_id": "7", "state": ["PENDING"]}]}
            case ("jobs", _) | ("job/7", _):
                reply = {"jobs": [JOB]}
            case _:
                return web.json_response({}, status=404)
        return web.json_response(reply)


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("first")
    return file


@asynccontextmanager
async def asking(
    answer: Callable[[web.Request], Awaitable[web.Response]], token: Path
) -> AsyncIterator[RestTransport]:
    """A transport to a server whose every reply comes from `answer`."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        transport = RestTransport(str(server.make_url("/")), "me", Tokens("me", token, None))
        try:
            yield transport
        finally:
            await transport.close()


@pytest.mark.parametrize("version", VERSIONS)
async def test_version_is_found_and_used(version: str, token: Path) -> None:
    slurmrestd = Stub(version)
    async with asking(slurmrestd.answer, token) as transport:
        assert await soon(transport.open()) == "24.11.5"
        job = Submission(
            "own", "#!/bin/sh\ntrue", "/shared", gres="gpu:1", partition="p", exclusive="true"
        )
        assert await soon(transport.submit(job)) == 7
        [sent] = slurmrestd.submitted
        assert sent["job"]["tres_per_node"] == "gres/gpu:1"
        assert (sent["job"]["partition"], sent["job"]["shared"]) == ("p", ["none"])
        assert (await soon(transport.states()))[7].is_pending
        [found] = await soon(transport.named("own"))
        assert (found.reason, found.begins_at) == ("Resources", 1_790_000_000)
        slurmrestd.full = True
        with pytest.raises(Refused, match="MaxJobCount") as refused:
            await soon(transport.submit(job))
        assert not refused.value.permanent
        # The token expires, and the site's job replaces its file.
        slurmrestd.token, slurmrestd.full = "second", False
        with pytest.raises(SlurmAway, match="authentication"):
            await soon(transport.states())
        await asyncio.to_thread(token.write_text, "SLURM_JWT=second\n")
        assert (await soon(transport.states()))[7].is_pending


async def test_names_of_jobs_that_are_gone_are_forgotten(token: Path) -> None:
    listed = [str(number) for number in range(50)]

    async def answer(request: web.Request) -> web.Response:
        last = request.path.strip("/").split("/")[-1]
        jobs: list[dict[str, Any]] = [{"job_id": n, "state": ["RUNNING"]} for n in listed]
        if last != "state":
            jobs = [{**JOB, "job_id": int(last)}] if last.isdecimal() else []
        return web.json_response({"jobs": jobs, "pings": [{"pinged": "UP"}]})

    async with asking(answer, token) as transport:
        assert len(await soon(transport.named("own"))) == 50
        del listed[1:]
        assert len(await soon(transport.named("own"))) == 1
        assert list(transport._names) == [0]


async def test_tasks_of_an_array_are_known_by_its_id_and_their_index(token: Path) -> None:
    """As slurmrestd 24.11 lists them: one entry for those that wait, with an abbreviated list of
    indexes, and an id of its own for each that has started."""
    whole = {"set": True, "infinite": False}
    begun = {
        **JOB,
        "job_id": 9,
        "array_job_id": {**whole, "number": 7},
        "array_task_id": {**whole, "number": 1},
        "job_state": ["RUNNING"],
        "nodes": "g1",
    }
    waiting = {
        **JOB,
        "array_job_id": {**whole, "number": 7},
        "array_task_id": {"set": False, "infinite": False, "number": 0},
        "array_task_string": "0,2,...",
    }
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        reply: dict[str, Any] = {"pings": [{"pinged": "UP"}]}
        asked.append(request.path)
        match request.path.strip("/").split("/")[-1]:
            case "state":
                listed = {"7_0": "PENDING", "7_2": "PENDING", "9_1": "RUNNING", "5_[1-3]": "?"}
                reply["jobs"] = [{"job_id": n, "state": [s]} for n, s in listed.items()]
            case "7":
                reply["jobs"] = [waiting, begun]
            case "9":
                reply["jobs"] = [begun]
        return web.json_response(reply)

    tasks = [ArrayTask(7, n) for n in range(3)]
    async with asking(answer, token) as transport:
        # An earlier server has submitted it.
        found = {job.id: job for job in await soon(transport.named("own"))}
        assert {job_id: job.name for job_id, job in found.items()} == {
            task: f"own.{n}" for n, task in enumerate(tasks)
        }
        assert [found[task].is_pending for task in tasks] == [True, False, True]
        assert found[tasks[1]].nodes == "g1"
        assert set(await soon(transport.states())) == set(tasks)
        assert [job.id for job in await soon(transport.named("own.1"))] == [tasks[1]]
        asked.clear()
        looks = await soon(asyncio.gather(*(transport.job(task) for task in tasks * 5)))
        assert [job and job.id for job in looks] == tasks * 5
        assert len(asked) == 2, "one request for all, and the states of those that wait"
        assert await soon(transport.job(ArrayTask(7, 5))) is None


@pytest.mark.parametrize("body", ["<html>Login</html>", "[]", '{"jobs": true}', '{"jobs": ["7"]}'])
async def test_reply_that_is_no_list_of_jobs_is_not_an_empty_one(body: str, token: Path) -> None:
    """Else each job would count as gone."""

    async def answer(request: web.Request) -> web.Response:
        ping = '{"pings": [{"pinged": "UP"}]}'
        return web.Response(text=ping if "ping" in request.path else body)

    async with asking(answer, token) as transport:
        for ask in (transport.states(), transport.job(7), transport.named("own")):
            with pytest.raises(SlurmAway, match="invalid reply"):
                await soon(ask)


async def test_name_of_a_job_of_another_user_may_be_any_bytes(token: Path) -> None:
    others = json.dumps({**JOB, "job_id": 8, "name": "NAME"}).encode().replace(b"NAME", b"\xff")

    async def answer(request: web.Request) -> web.Response:
        match request.path.strip("/").split("/")[-1]:
            case "ping":
                body = b'{"pings": [{"pinged": "UP"}]}'
            case "state":
                body = b'{"jobs": [{"job_id": "7", "state": []}, {"job_id": "8", "state": []}]}'
            case last:
                jobs = {"7": json.dumps(JOB).encode(), "8": others}
                body = b'{"jobs": [%b]}' % jobs.get(last, b", ".join(jobs.values()))
        return web.Response(body=body)

    async with asking(answer, token) as transport:
        assert [job.id for job in await soon(transport.named("own"))] == [7]
        assert [job.id for job in await soon(transport.queue())] == [7, 8]


class OfAnother(CliTransport):
    async def cluster(self) -> str:
        return "another"


@pytest.fixture
def waiting(commands: Slurm) -> Iterator[Slurm]:
    """A cluster with a job that waits, and with commands that reach it."""
    job = ("--nodes=3", "--exclusive", "--output=/dev/null", "--parsable")
    ids = [commands.run("sbatch", *job, input="#!/bin/sh\nsleep 600\n").strip() for _ in range(2)]
    yield commands
    commands.run("scancel", *ids)


@pytest.mark.parametrize(
    ("own", "is_known"),
    [(CliTransport("root"), True), (OfAnother("root"), False), (None, False)],
    ids=["same", "another", "none"],
)
async def test_long_queue_is_read_by_commands_of_the_same_cluster(
    waiting: Slurm, own: CliTransport | None, is_known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "_MOST_QUEUED", -1)
    tokens = Tokens("root", None, waiting.jwt_key)
    transport = RestTransport(waiting.url, "root", tokens, own)
    try:
        await transport.open()
        assert bool(await transport.queue()) == is_known
    finally:
        await transport.close()


async def test_name_of_the_cluster(commands: Slurm) -> None:
    assert await CliTransport("root").cluster() == CLUSTER
