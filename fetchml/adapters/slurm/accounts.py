"""The accounts of the cluster as which the jobs of users run, and their access to files."""

import os
import pwd
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fetchml.adapters.slurm import access_lists
from fetchml.adapters.slurm.start_files import owner_of
from fetchml.core.requests.slurm import user_fault
from fetchml.ports.launcher import LaunchSpec, Owner, PrepareError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
"""Goes into the options of commands: no other characters, and no leading `-`."""


class NoSuchAccount(Exception):
    """The message is for the server's owner."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user of Unix and of Slurm, the same on this host and on all nodes."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    """All gids, `gid` too."""

    @property
    def owner(self) -> tuple[int, int]:
        return self.uid, self.gid


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts of users who have one; the jobs of the others are those of the server's."""

    by_user: Mapping[str, Account] = field(default_factory=dict)
    """By the user's name in FetchML; the server's own account may be among them."""
    own: str = ""
    """Name of the server's account in Slurm; empty if it is not known, since the commands run on
    another host as whom ssh chooses."""
    refuses_others: bool = False
    """Whether users without an account may run nothing."""

    def of(self, user: str) -> Account | None:
        """Return the account of a user; `None` for that of the server."""
        account = self.by_user.get(user)
        return None if account is None or account.name == self.own else account

    @property
    def others(self) -> frozenset[str]:
        """The names of the accounts that are not the server's."""
        return frozenset(each.name for each in self.by_user.values()) - {self.own}

    def name_of(self, user: str) -> str:
        """Return the name of a user's account; empty for that of the server."""
        account = self.of(user)
        return "" if account is None else account.name

    def fault(self, user: str) -> str | None:
        """Return why the user may not run tasks; `None` if they may."""
        return user_fault(user, self.allowed)

    def prepare_folder(self, shared_dir: Path) -> None:
        """Make the shared folder ready for jobs of accounts. In a thread. Raises OSError."""
        if not self.others:
            return
        if not access_lists.are_supported(shared_dir):
            raise OSError(
                "its file system has no POSIX access lists (ACLs), which accounts of users need"
            )
        access_lists.open_top(shared_dir)

    def require_owner(self, run: LaunchSpec) -> None:
        """Raises PrepareError if the attempt's files are not those of the user's account."""
        account = self.of(run.user)
        if account is not None and owner_of(run) != account.owner:
            raise PrepareError(
                f"its files belong to another account than {account.name}, as whom the jobs of "
                f"{run.user} run ([slurm.users.{run.user}] user)",
                permanent=False,
            )

    def admit(self, run: LaunchSpec, shared_dir: Path) -> None:
        """Let the account into the attempt's folder, before its job is submitted. In a thread.
        Raises OSError."""
        account = self.of(run.user)
        if account is not None:
            access_lists.admit(run, shared_dir, account.uid)

    @property
    def allowed(self) -> Sequence[str] | None:
        """The users who may run tasks; `None` if all may."""
        return tuple(self.by_user) if self.refuses_others else None


def look_up(name: str) -> Account:
    """Look an account up on this host. Raises NoSuchAccount."""
    if not _NAME.fullmatch(name):
        raise NoSuchAccount(f"invalid account name {name!r}")
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise NoSuchAccount(f"account {name} not found on this host") from None
    groups = tuple(sorted(os.getgrouplist(name, entry.pw_gid)))
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, groups)


class AccountOwners:
    """`FileOwners`: each account owns what its jobs write."""

    def __init__(self, accounts: Accounts, own: Owner) -> None:
        """`own`: of the server's account."""
        self._accounts = accounts
        self._own = own

    async def of(self, user: str) -> Owner:
        if fault := self._accounts.fault(user):
            raise PrepareError(fault, permanent=True)
        account = self._accounts.of(user)
        return self._own if account is None else account.owner

    def owns_files(self, uid: int) -> bool:
        """A job has its own user's account, whoever owns a workspace."""
        return False
