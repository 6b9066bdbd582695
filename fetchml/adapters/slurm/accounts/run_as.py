"""The ways in which Slurm's commands run as the account of a user."""

from collections.abc import Mapping
from dataclasses import dataclass

from fetchml.adapters.slurm.accounts.account import Account
from fetchml.adapters.slurm.transports.remote import SshHost

_TOKEN = "SLURM_JWT"  # noqa: S105 - the name of a variable
"""Slurm's commands are those of the user of this token, whoever runs them."""
_KEPT = ("LANG", "LC_", "LD_LIBRARY_PATH", "PATH", "SLURM_", "TZ")
"""Beginnings of the variables of the server's that commands of an account have on this host: its
other processes can read them."""


@dataclass(frozen=True, slots=True)
class RunAs:
    """One account's way."""

    account: Account
    prefix: tuple[str, ...] = ()
    """Words before each command."""
    host: SshHost | None = None
    """Where the commands run, as the account that ssh chooses; `None`: where the server's do."""

    def environment(self, own: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of the process. `own`: that of the server's commands."""
        name = self.account.name
        kept = {
            variable: value
            for variable, value in own.items()
            if variable != _TOKEN and (self.host is not None or variable.startswith(_KEPT))
        }
        return kept | {"USER": name, "LOGNAME": name}


def by_sudo(account: Account) -> RunAs:
    return RunAs(account, ("sudo", "-n", "-u", account.name, "--"))


def by_ids(account: Account) -> RunAs:
    """Only root can do that."""
    groups = ",".join(map(str, account.groups or (account.gid,)))
    ids = (f"--reuid={account.uid}", f"--regid={account.gid}", f"--groups={groups}")
    return RunAs(account, ("setpriv", *ids, "--"))


def by_ssh(account: Account, host: str, limit_seconds: float) -> RunAs:
    """`host`: as in the settings; a user in it is replaced."""
    place = f"{account.name}@{host.rpartition('@')[2]}"
    return RunAs(account, host=SshHost(place, limit_seconds))
