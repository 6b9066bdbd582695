"""Slurm's commands: those that misbehave, and those on another host."""

import asyncio
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from fetchml.adapters.slurm import commands as processes
from fetchml.adapters.slurm.commands import CliTransport, SshHost
from fetchml.adapters.slurm.job import Submission
from fetchml.adapters.slurm.transport import SlurmAway
from fetchml.config.settings import SlurmSettings
from testbed.slurm import Slurm
from tests.support.commands import ran
from tests.support.waiting import soon

FORGED = 67_000_000
"""More than a private cluster ever counts to."""


@pytest.fixture
def forger(commands: Slurm) -> Iterator[str]:
    """Id of a job whose name has a row of `squeue` in its second line."""
    name = f"--job-name=a\n{FORGED}|COMPLETED|None|n1|N/A|root|fetchml-forged"
    job_id = commands.run("sbatch", "--parsable", "--hold", name, "--wrap=true").strip()
    yield job_id
    commands.run("scancel", job_id)


async def test_name_of_a_job_adds_no_job(forger: str) -> None:
    found = await CliTransport("root").states()
    assert found[int(forger)].name == "a"
    assert FORGED not in found


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


HOSTILE = ["a b", "$(touch x)", "`id`", "'; id", '"', "*", "-x", "é", "a\nb", ""]


def test_words_reach_the_command_as_they_are() -> None:
    host = SshHost("login", 20)
    try:
        local = host.wrap([sys.executable, "-c", "import sys; print(sys.argv[1:])", *HOSTILE], {})
        assert local[0] == "ssh"
        assert local[-3:-1] == ["--", "login"]
        done = ran(["sh", "-c", local[-1]], check=True)
        assert done.stdout.strip() == repr(HOSTILE)
    finally:
        host.close()


@pytest.mark.parametrize("name", ["-oProxyCommand=id", "a b", "", "a;b", "@", "a\n"])
def test_host_that_could_be_an_option_is_refused(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"ssh": name}, SlurmSettings)


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commands: Slurm) -> Path:
    """An ssh that runs the command here, and fails as ssh does while its file `cut` exists."""
    folder = tmp_path / "bin"
    folder.mkdir()
    file = folder / "ssh"
    script = f"""#!/bin/sh
[ -e {shlex.quote(str(folder))}/cut ] && {{ echo "no route to host" >&2; exit 255; }}
for last; do :; done
exec sh -c "$last"
"""
    file.write_text(script)
    file.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


async def test_jobs_through_ssh(ssh: Path, tmp_path: Path) -> None:
    transport = CliTransport("nobody", SshHost("login", 20))
    try:
        assert (await soon(transport.open())).startswith("2")
        job = Submission("through-ssh", "#!/bin/sh\nexec sleep 300", str(tmp_path), nice=7)
        number = await soon(transport.submit(job))
        assert (await soon(transport.states()))[number].name == "through-ssh"
        await soon(transport.cancel(number))
        found = await soon(transport.job(number))
        assert found is None or found.is_ending
        (ssh / "cut").touch()
        with pytest.raises(SlurmAway, match="ssh login failed: no route to host"):
            await soon(transport.states())
    finally:
        await transport.close()
