"""The request to Slurm for a task, and the time limit of its job."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from fetchml.adapters.slurm.commands import CliTransport, _minutes
from fetchml.adapters.slurm.job import ArrayTask, Job, JobId, Submission
from fetchml.adapters.slurm.job_requests import Parameters, nice, permit, submission_of
from fetchml.adapters.slurm.rest import RestTransport
from fetchml.adapters.slurm.tokens import Tokens, make_token
from fetchml.adapters.slurm.transport import Refused, SlurmAway, SlurmTransport
from fetchml.ports.launcher import LaunchSpec
from testbed.slurm import Slurm
from tests.support.waiting import until


def run(**fields: object) -> LaunchSpec:
    return LaunchSpec("t", 1, "job", Path("/shared/t"), "image", ("run",), {}, **fields)  # type: ignore[arg-type]


def test_parameters_of_the_request_go_before_the_users_and_those_before_all() -> None:
    parameters = Parameters(
        {"partition": "all", "account": "all", "qos": "all"},
        {"ada": {"account": "ada", "qos": "ada"}, "bob": {"qos": "bob"}},
    )
    job = submission_of(run(user="ada", slurm={"qos": "mine"}), "name", parameters)
    assert (job.partition, job.account, job.qos) == ("all", "ada", "mine")
    job = submission_of(run(user="eve"), "name", parameters)
    assert (job.partition, job.account, job.qos) == ("all", "all", "all")


@pytest.mark.parametrize(
    ("gpu", "asked", "resources"),
    [
        (0, "", []),
        (2, "", ["gpu:2"]),
        (2, "gpu:a100:2", ["gpu:a100:2"]),
        (2, "GPU:2", ["GPU:2"]),
        (1, "disk:3", ["gpu:1", "disk:3"]),
        (0, "disk:3", ["disk:3"]),
    ],
)
def test_kind_of_gpus_replaces_their_number(gpu: int, asked: str, resources: list[str]) -> None:
    slurm = {"gres": asked} if asked else {}
    assert submission_of(run(gpu=gpu, slurm=slurm), "name", Parameters()).resources == resources


def test_priority_becomes_nice_and_a_request_adds_to_it() -> None:
    assert (nice(10, "0"), nice(5, "0"), nice(1, "7")) == (0, 500, 907)


def test_every_parameter_is_an_option_of_sbatch(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, ...]] = []

    async def note(self: CliTransport, *command: str, **_: object) -> tuple[int, str, str]:
        seen.append(command)
        return 0, "7\n", ""

    monkeypatch.setattr(CliTransport, "_run", note)
    asked = {
        "partition": "p", "account": "a", "qos": "q", "constraint": "c", "reservation": "r",
        "nodelist": "n1", "exclude": "n2", "licenses": "l:1", "exclusive": "true", "gres": "disk:1",
    }  # fmt: skip
    job = submission_of(run(slurm=asked), "name", Parameters())
    assert asyncio.run(CliTransport("me").submit(job)) == 7
    for name, value in asked.items():
        assert (f"--{name}={value}" if name != "exclusive" else "--exclusive") in seen[0]


MINUTE_MS = 60_000


@pytest.fixture(params=["rest", "cli"])
def transport_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["root", "nobody"])
def account(request: pytest.FixtureRequest) -> str:
    """`root` is the cluster's operator."""
    return str(request.param)


@pytest.fixture
async def transport(
    commands: Slurm, transport_name: str, account: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SlurmTransport]:
    token = make_token(commands.jwt_key.read_bytes(), account, int(time.time()), 86_400)
    monkeypatch.setenv("SLURM_JWT", token)
    if transport_name == "cli":
        transport: SlurmTransport = CliTransport(account)
    else:
        transport = RestTransport(commands.url, account, Tokens(account, None, commands.jwt_key))
    await transport.open()
    yield transport
    await transport.close()


@pytest.fixture
def open_folder() -> Iterator[str]:
    """The other account writes there too."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield folder


@pytest.fixture
async def job(transport: SlurmTransport, open_folder: str) -> AsyncIterator[int]:
    script = "#!/bin/sh\nexec sleep 600\n"
    number = await transport.submit(Submission("limits", script, open_folder, minutes=10))
    await until(lambda: transport.job(number), lambda job: job is not None and runs(job))
    yield number
    await transport.cancel(number)
    await until(lambda: transport.job(number), lambda job: job is None or job.is_over)


def runs(job: Job) -> bool:
    return "RUNNING" in job.state


@pytest.mark.slow
async def test_time_is_given_as_far_as_slurm_allows(
    transport: SlurmTransport, account: str, job: int
) -> None:
    assert await transport.time_limit(job) == 10
    for minutes in (1, 7):
        assert await permit(transport, job, minutes * MINUTE_MS, 60_000) is None
    assert await transport.time_limit(job) == 10, "there is room for the grace and Slurm's margin"
    more = await permit(transport, job, 57 * MINUTE_MS, 60_000)
    longest = await transport.time_limit(job)
    none = await permit(transport, job, 0, 60_000)
    without = await transport.time_limit(job)
    if account == "root":
        assert (more, longest, none, without) == (None, 60, None, None)
        assert await permit(transport, job, 1 << 40, 60_000) is None, "it has no limit"
        return
    assert (longest, without) == (10, 10)
    assert more is not None
    denied = "Access/permission denied"
    assert more.replace(f"{denied} for job {job}", denied) == (
        f"Slurm does not let its job {job} run longer ({denied}): 420 s at most. "
        f"An operator of the cluster can extend the job: 'scontrol update JobId={job} "
        "TimeLimit=60'. Then repeat the change"
    )
    assert none is not None
    assert "TimeLimit=UNLIMITED" in none


@pytest.mark.slow
async def test_one_task_of_an_array_gets_another_limit(
    transport: SlurmTransport, open_folder: str
) -> None:
    """Also the last one to start, whose own id is that of the array."""
    script = "#!/bin/sh\nexec sleep 600\n"
    array = Submission("limits", script, open_folder, minutes=10, indexes="0,3,4")
    number = await transport.submit(array)
    first, second, last = tasks = [ArrayTask(number, index) for index in (0, 3, 4)]
    try:
        for task in tasks:
            await until(lambda: transport.job(task), lambda job: job is not None and runs(job))  # noqa: B023
        for task, minutes in ((first, 5), (last, 6)):
            await transport.change_time_limit(task, minutes)
        assert [await transport.time_limit(task) for task in tasks] == [5, 10, 6]
        assert set(tasks) <= set(await transport.states())
        found = await transport.named("limits.3")
        assert [job.id for job in found if not job.is_over] == [second]
    finally:
        for task in tasks:
            await transport.cancel(task)
        for task in tasks:
            await until(lambda: transport.job(task), lambda job: job is None or job.is_over)  # noqa: B023


@pytest.mark.slow
async def test_job_that_is_gone_gets_no_time(transport: SlurmTransport) -> None:
    with pytest.raises(Refused, match="job not found"):
        await transport.time_limit(999_999)
    with pytest.raises(Refused, match="Invalid job id"):
        await transport.change_time_limit(999_999, 5)
    refused = await permit(transport, 999_999, MINUTE_MS, 0)
    assert refused is not None
    assert "job not found" in refused


class Away:
    async def time_limit(self, job_id: JobId, user: str = "") -> int | None:
        raise SlurmAway("it sleeps")


async def test_slurm_that_is_away_is_asked_again_later() -> None:
    away: Any = Away()
    assert await permit(away, 1, MINUTE_MS, 0) == (
        "Slurm does not answer (it sleeps): try again later"
    )


@pytest.mark.parametrize(
    ("limit", "minutes"),
    [("5:00", 5), ("0:30", 0), ("59:59", 59), ("1:30:00", 90), ("2-00:30:00", 2 * 1440 + 30)],
)
def test_limits_as_squeue_prints_them(limit: str, minutes: int) -> None:
    assert _minutes(limit) == minutes


@pytest.mark.parametrize("limit", ["", "NOT_SET", "INVALID", "1", "-1:00", "9" * 20 + ":00"])
def test_what_is_no_limit_of_a_job(limit: str) -> None:
    with pytest.raises(Refused):
        _minutes(limit)
