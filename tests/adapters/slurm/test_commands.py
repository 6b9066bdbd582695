"""Commands of Slurm that do not behave."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchml.adapters.slurm import commands as processes
from fetchml.adapters.slurm.commands import CliTransport
from fetchml.adapters.slurm.transport import SlurmAway
from testbed.slurm import Slurm
from tests.support.waiting import soon


@pytest.fixture
def forger(commands: Slurm) -> Iterator[str]:
    """Id of a job whose name has a row of `squeue` in its second line."""
    name = "--job-name=a\n99|COMPLETED|None|n1|N/A|root|fetchml-forged"
    job_id = commands.run("sbatch", "--parsable", "--hold", name, "--wrap=true").strip()
    yield job_id
    commands.run("scancel", job_id)


async def test_name_of_a_job_adds_no_job(forger: str) -> None:
    found = await CliTransport("root").states()
    assert found[int(forger)].name == "a"
    assert 99 not in found


@pytest.fixture
def _endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\nexec yes\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")


@pytest.mark.usefixtures("_endless")
async def test_output_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_MOST_BYTES", 1 << 20)
    with pytest.raises(SlurmAway, match="printed more than 1 MiB"):
        await soon(CliTransport("me").states())


@pytest.mark.usefixtures("_endless")
async def test_command_that_does_not_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    async def is_not_read(*_: object) -> bytes:
        await asyncio.sleep(3600)
        return b""

    monkeypatch.setattr(processes, "_read", is_not_read)
    monkeypatch.setattr(processes, "CALL_SECONDS", 0.5)
    with pytest.raises(SlurmAway, match=r"timed out after 0\.5 s"):
        await soon(CliTransport("me").states())
