"""Slurm's commands through ssh, over a real Slurm and an ssh that stays on this host."""

import shlex
import sys
from pathlib import Path

import msgspec
import pytest

from fetchml.adapters.slurm.commands import CliTransport, SshHost
from fetchml.adapters.slurm.job import Submission
from fetchml.adapters.slurm.transport import SlurmAway
from fetchml.config.sections.slurm import SlurmSettings
from testbed.slurm import Slurm
from tests.support.commands import ran
from tests.support.waiting import soon

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
