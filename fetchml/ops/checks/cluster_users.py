"""Accounts of users on a cluster: whether their jobs can be submitted, and reach their files."""

import asyncio
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from shlex import quote

from fetchml.adapters.slurm import access_lists
from fetchml.adapters.slurm.accounts import Account
from fetchml.adapters.slurm.job import Submission
from fetchml.adapters.slurm.transport import Refused, SlurmAway, SlurmTransport
from fetchml.config.sections.slurm import SlurmSettings
from fetchml.config.settings import Settings
from fetchml.files.own_file import read_own
from fetchml.server.cannot_start import CannotStart
from fetchml.server.cluster_wiring import tasks_folder
from fetchml.server.slurm_accounts import accounts_of, parameters_of
from fetchml.server.slurm_wiring import transport_of
from fetchml.views import Finding

NAME, PROBE = "cluster users", "probe users"
PROBE_SECONDS = 120
SETTLE_SECONDS = 5.0
POLL_SECONDS = 0.5
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


def probe(settings: Settings) -> Iterator[Finding]:
    """Run a job as the first of the accounts; nothing if there are none."""
    try:
        accounts = accounts_of(settings.slurm)
        if not accounts.others:
            return
        account = min(
            (each for each in accounts.by_user.values() if each.name in accounts.others),
            key=lambda each: each.name,
        )
        shared, transport = tasks_folder(settings), transport_of(settings.slurm)
    except CannotStart as error:
        yield Finding(PROBE, "not set up", str(error))
        return
    folder = shared / f"probe-{secrets.token_hex(8)}"
    try:
        access_lists.let_all_pass(shared)
        folder.mkdir(mode=0o700)
        try:
            os.chown(folder, *account.owner)
            yield _probed(account, asyncio.run(_run_as(settings, transport, account, folder)))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        why = f"{shared} can't be used for {account.name}: {error.strerror}"
        yield Finding(
            PROBE, why, "Start it with the rights of the server (docs/cluster-accounts.md)."
        )


async def _run_as(
    settings: Settings, transport: SlurmTransport, account: Account, folder: Path
) -> str:
    """Submit a job as the account; return what it wrote in its folder, or why there is nothing."""
    slurm, record = settings.slurm, folder / "found"
    parameters = {**parameters_of(slurm).get(_user_of(slurm, account), {})}
    job = Submission(
        name=f"fetchml-{folder.name}",
        script=f"#!/bin/sh\ncd {quote(str(folder))} && id -u >new && mv new found\n",
        folder=str(folder),
        minutes=5,
        partition=parameters.get("partition", slurm.partition),
        account=parameters.get("account", slurm.account),
        qos=parameters.get("qos", slurm.qos),
        user=account.name,
    )
    try:
        await transport.open()
        number = await transport.submit(job)
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                while not _is_there(record):
                    found = await transport.job(number, account.name)
                    if found is None or found.is_over:
                        await asyncio.sleep(SETTLE_SECONDS)  # A network disk may lag.
                        break
                    await asyncio.sleep(POLL_SECONDS)
            return read_own(record, 64).decode(errors="replace") if _is_there(record) else ""
        except TimeoutError:
            return f"its job did not run within {PROBE_SECONDS} s"
        finally:
            with suppress(SlurmAway):
                await transport.cancel(number, account.name)
    except (Refused, SlurmAway) as error:
        return str(error)
    finally:
        await transport.close()


def _is_there(record: Path) -> bool:
    """A listing is read again from a network disk, where the absence of a file is remembered."""
    return any(path.name == record.name for path in record.parent.iterdir())


def _user_of(slurm: SlurmSettings, account: Account) -> str:
    return next(user for user, given in slurm.users.items() if given.get("user") == account.name)


def _probed(account: Account, said: str) -> Finding:
    said = said.strip()
    if said == str(account.uid):
        return Finding(PROBE, f"a job of {account.name} reached its folder as uid {said}")
    if said.isdecimal():
        fix = "Give the account the same uid on this host and on all nodes."
        return Finding(PROBE, f"{account.name} is uid {said} on a node, {account.uid} here", fix)
    fix = "Look at the rights of its folders on the nodes, and at [slurm.users]."
    return Finding(PROBE, f"{account.name}: {said or 'its job wrote nothing'}", fix)


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
        "(docs/cluster-accounts.md).",
    )


def _folder(shared: Path, accounts: Sequence[Account]) -> Finding:
    name = "users' files"
    try:
        if not access_lists.are_supported(shared):
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
