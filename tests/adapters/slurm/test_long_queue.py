"""The queue of a cluster with more jobs than slurmrestd is asked for at once."""

from collections.abc import Iterator

import pytest

from fetchml.adapters.slurm import rest
from fetchml.adapters.slurm.commands import CliTransport
from fetchml.adapters.slurm.rest import RestTransport
from fetchml.adapters.slurm.tokens import Tokens
from testbed.slurm import CLUSTER, Slurm


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
