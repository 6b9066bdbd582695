"""The request to Slurm for a task."""

import asyncio
from pathlib import Path

import pytest

from fetchml.adapters.slurm.commands import CliTransport
from fetchml.adapters.slurm.job_requests import Parameters, nice, submission_of
from fetchml.ports.launcher import LaunchSpec


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
