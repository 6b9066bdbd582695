"""The accounts of the cluster as whom users' jobs run, by the settings."""

import os
import pwd
from collections.abc import Iterator, Mapping
from pathlib import Path

from fetchml.adapters.slurm.accounts import (
    Account,
    AccountOwners,
    Accounts,
    NoSuchAccount,
    look_up,
)
from fetchml.adapters.slurm.commands import RunAs, by_ids, by_ssh, by_sudo
from fetchml.adapters.slurm.tokens import Tokens
from fetchml.adapters.slurm.transport import CALL_SECONDS
from fetchml.config.settings import SlurmSettings
from fetchml.files.task_users import FileOwners
from fetchml.ports.launcher import Owner
from fetchml.server.cannot_start import CannotStart
from fetchml.system import capabilities

USER, TOKEN_FILE = "user", "token_file"


def parameters_of(slurm: SlurmSettings) -> dict[str, dict[str, str]]:
    """Return the parameters of the jobs of each user."""
    return {
        user: {name: value for name, value in entries.items() if name not in (USER, TOKEN_FILE)}
        for user, entries in slurm.users.items()
    }


def accounts_of(slurm: SlurmSettings) -> Accounts:
    """Raises CannotStart."""
    own = pwd.getpwuid(os.geteuid()).pw_name
    by_user = {}
    for user, entries in slurm.users.items():
        if USER not in entries:
            if TOKEN_FILE in entries:
                raise CannotStart(f"[slurm.users.{user}] token_file needs user, whose token it is")
            continue
        try:
            by_user[user] = look_up(entries[USER])
        except NoSuchAccount as error:
            raise CannotStart(
                f"[slurm.users.{user}] user: {error}. Name an account that this host and all "
                "nodes have"
            ) from None
        if by_user[user].uid == 0 and not slurm.allow_root:
            raise CannotStart(
                f"[slurm.users.{user}] user is root: its tasks would be root on the nodes. Name "
                "another account, or set [slurm] allow_root"
            )
    is_known = slurm.transport == "rest" or slurm.ssh is None
    accounts = Accounts(by_user, own if is_known else "", refuses_others=slurm.unmapped == "refuse")
    if any(each.name != own for each in by_user.values()):
        _require_possible(slurm)
    return accounts


def account_owners(slurm: SlurmSettings, own: Owner) -> FileOwners:
    """Return who owns the files of tasks. `own`: of the server's account. Raises CannotStart."""
    return AccountOwners(accounts_of(slurm), own)


def _require_possible(slurm: SlurmSettings) -> None:
    """Raises CannotStart."""
    if not capabilities.may_hand_over():
        raise CannotStart(
            "[slurm.users] gives users accounts of their own, for which the server must give them "
            "files: start it as root, or with the capabilities CAP_CHOWN, CAP_DAC_OVERRIDE and "
            "CAP_FOWNER (docs/cluster-accounts.md)"
        )
    if slurm.become == "setuid" and os.geteuid() != 0:
        raise CannotStart("[slurm] become is setuid: that requires root. Use sudo")
    if slurm.become == "ssh" and slurm.ssh is None:
        raise CannotStart("[slurm] become is ssh: set [slurm] ssh to the host of the commands")
    if slurm.become == "setuid" and slurm.ssh is not None:
        raise CannotStart("[slurm] become is setuid, but the commands run on the host of ssh")


def run_as_of(slurm: SlurmSettings) -> dict[str, RunAs]:
    """Return how commands run as the accounts, by their names. Raises CannotStart."""
    return {each.name: _run_as(slurm, each) for each, _ in _others(slurm)}


def _run_as(slurm: SlurmSettings, of: Account) -> RunAs:
    if slurm.become == "ssh" and slurm.ssh is not None:
        return by_ssh(of, slurm.ssh, CALL_SECONDS)
    is_root = os.geteuid() == 0 and slurm.ssh is None
    if slurm.become == "setuid" or (slurm.become == "auto" and is_root):
        return by_ids(of)
    return by_sudo(of)


def tokens_of(slurm: SlurmSettings) -> dict[str, Tokens]:
    """Return the accounts' tokens for slurmrestd, by their names. Raises CannotStart."""
    tokens = dict[str, Tokens]()
    for of, entries in _others(slurm):
        file = entries.get(TOKEN_FILE)
        if file is None and slurm.jwt_key is None:
            raise CannotStart(
                f"[slurm] transport is rest: the account {of.name} needs a token_file in "
                "[slurm.users], or the server [slurm] jwt_key"
            )
        key = slurm.jwt_key if file is None else None
        if file is not None or of.name not in tokens:
            tokens[of.name] = Tokens(of.name, None if file is None else Path(file), key)
    return tokens


def _others(slurm: SlurmSettings) -> Iterator[tuple[Account, Mapping[str, str]]]:
    """Yield the accounts that are not the server's, each with a user's entries."""
    accounts = accounts_of(slurm)
    for user, of in accounts.by_user.items():
        if of.name != accounts.own:
            yield of, slurm.users[user]
