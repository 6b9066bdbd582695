"""Accounts of users: their names, and how Slurm's commands run as them."""

from pathlib import Path

import pytest

from fetchml.adapters.slurm.accounts import account, run_as
from fetchml.adapters.slurm.accounts.account import Account, NoSuchAccount
from fetchml.adapters.slurm.job import Submission
from fetchml.adapters.slurm.transports.commands import CliTransport
from fetchml.adapters.slurm.transports.transport import AccountAway
from tests.support.waiting import soon

ADA = Account("ada", 4321, 4322, (4322, 4400))
PROGRAM = """\
#!/bin/sh
LOG=${0%/*}/log REFUSAL=${0%/*}/refusal
printf '%s|' "${0##*/}" "$@" >>"$LOG"
echo "secret=${FETCHML_SECRET-} jwt=${SLURM_JWT-} user=$USER" >>"$LOG"
if [ -e "$REFUSAL" ]; then echo "sudo: a password is required" >&2; exit 1; fi
echo 7
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the programs were called with, which stand in for the real ones."""
    for name in ("sudo", "ssh", "setpriv", "sbatch"):
        file = tmp_path / name
        file.write_text(PROGRAM)
        file.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SLURM_JWT", "of-the-server")
    monkeypatch.setenv("FETCHML_SECRET", "s3cret")
    return tmp_path / "log"


def job(user: str) -> Submission:
    return Submission("own", "#!/bin/sh\ntrue", "/shared", user=user)


def taken(log: Path) -> str:
    text = log.read_text()
    log.unlink()
    return text


@pytest.mark.parametrize(
    ("way", "begins"),
    [
        (run_as.by_sudo(ADA), "sudo|-n|-u|ada|--|sbatch|--parsable|"),
        (
            run_as.by_ids(ADA),
            "setpriv|--reuid=4321|--regid=4322|--groups=4322,4400|--|sbatch|--parsable|",
        ),
        (run_as.by_ssh(ADA, "service@login1", 20), "ssh|"),
    ],
)
async def test_submit_runs_as_the_account_without_the_servers_token(
    log: Path, way: run_as.RunAs, begins: str
) -> None:
    """Nor with its other variables where other processes of the account can read them."""
    transport = CliTransport("service", others={"ada": way})
    try:
        assert await soon(transport.submit(job("ada"))) == 7
        line = taken(log)
        assert line.startswith(begins)
        secret = "s3cret" if way.host is not None else ""  # Of a process of the server's account.
        assert line.endswith(f"|secret={secret} jwt= user=ada\n")
        if way.host is not None:
            assert "|--|ada@login1|env LC_ALL=C" in line
        assert await soon(transport.submit(job(""))) == 7
        line = taken(log)
        assert line.startswith("sbatch|")
        assert "jwt=of-the-server" in line
    finally:
        await transport.close()


async def test_refusal_of_sudo_is_the_accounts(log: Path) -> None:
    (log.parent / "refusal").touch()
    transport = CliTransport("service", others={"ada": run_as.by_sudo(ADA)})
    for user, said in (("ada", "sudo: a password is required"), ("bob", "no such account")):
        with pytest.raises(AccountAway, match=f"as {user}: .*{said}"):
            await soon(transport.submit(job(user)))


@pytest.mark.parametrize(
    "name", ["", "-x", "#0", "a,b", "a b", "a|b", "a/b", "../a", "a\n", "a@b", "é", "a" * 65, "0"]
)
def test_odd_name_is_no_account(name: str) -> None:
    with pytest.raises(NoSuchAccount, match="can't be the name"):
        account.find(name)


def test_account_is_found_with_its_groups() -> None:
    own = account.find("root")
    assert (own.uid, own.gid) == (0, 0)
    assert 0 in own.groups
    with pytest.raises(NoSuchAccount, match="this host has no account nobody-is-called-so"):
        account.find("nobody-is-called-so")
