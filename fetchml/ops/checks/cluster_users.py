"""Accounts of users on a cluster: whether their jobs can be submitted, and reach their files."""

import asyncio
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fetchml.adapters.slurm.accounts import folders
from fetchml.adapters.slurm.accounts.account import Account
from fetchml.adapters.slurm.transports.transport import SlurmAway, SlurmTransport
from fetchml.config.settings import Settings
from fetchml.server.cannot_start import CannotStart
from fetchml.server.cluster_wiring import tasks_folder
from fetchml.server.slurm_accounts import accounts_of
from fetchml.server.slurm_wiring import transport_of
from fetchml.views import Finding

NAME = "cluster users"
FOLDER_SECONDS = 5
NO_JOB = 0x03FFFFFE
"""The highest id, which Slurm gives to no job before it has used up all others."""
_SHOWN = 4
"""Faults that are named; more are counted."""


def users(settings: Settings) -> Iterator[Finding]:
    """Check the accounts of `[slurm.users]`; nothing if there are none."""
    try:
        accounts = accounts_of(settings.slurm)
        others = {
            each.name: each for each in accounts.by_user.values() if each.name in accounts.others
        }
        if not others:
            return
        yield _asked(sorted(others), asyncio.run(_faults(transport_of(settings.slurm), others)))
        yield _folder(tasks_folder(settings), list(others.values()))
    except CannotStart as error:
        yield Finding(NAME, "not set up", str(error))


async def _faults(transport: SlurmTransport, names: Mapping[str, Account]) -> list[str]:
    """Return why Slurm can't be asked as some of the accounts."""
    faults = []
    try:
        await transport.open()
        for name in names:
            try:
                await transport.job(NO_JOB, name)
            except SlurmAway as error:
                faults.append(str(error))
    except SlurmAway:
        pass  # Another check reports it.
    finally:
        await transport.close()
    return faults


def _asked(names: Sequence[str], faults: list[str]) -> Finding:
    if not faults:
        shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
        return Finding(NAME, f"Slurm can be asked as {len(names)} accounts: {shown}")
    more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    return Finding(
        NAME,
        "; ".join(faults[:_SHOWN]) + more,
        "Renew their tokens ([slurm.users.NAME] token_file), or let the site allow [slurm] become "
        "(docs/cluster.md).",
    )


def _folder(shared: Path, accounts: Sequence[Account]) -> Finding:
    name = "users' files"
    try:
        if not folders.supports_lists(shared):
            fix = "Use a file system with POSIX access lists (ACLs), or give no user an account."
            return Finding(name, f"{shared} has no access lists", fix)
    except OSError as error:
        return Finding(name, f"{shared} can't be used: {error.strerror}", "Mend its file system.")
    if os.geteuid() != 0:
        return Finding(name, f"{shared} has access lists")
    closed = [each.name for each in accounts if not _may_enter(each, shared.parent)]
    if closed:
        return Finding(
            name,
            f"{', '.join(closed[:_SHOWN])} can't enter {shared.parent}",
            f"Let them pass: chmod o+x {shared.parent}, and the folders above it.",
        )
    return Finding(name, f"{shared} has access lists, and the accounts can reach it")


def _may_enter(account: Account, folder: Path) -> bool:
    try:
        done = subprocess.run(
            ["test", "-x", str(folder)],
            user=account.uid,
            group=account.gid,
            extra_groups=account.groups,
            timeout=FOLDER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
