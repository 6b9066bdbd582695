"""A Slurm cluster: reachable, with nodes that take work, a shared folder, a configuration that fits
the settings, and the accounts of users.
"""

import asyncio
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from fetchml.adapters.slurm import access_lists
from fetchml.adapters.slurm.accounts import Account
from fetchml.adapters.slurm.health import check_shared
from fetchml.adapters.slurm.transport import SlurmAway, SlurmTransport
from fetchml.config.settings import Settings, SlurmSettings
from fetchml.core.requests.slurm import value_fault
from fetchml.ports.cluster import Node
from fetchml.server.cannot_start import CannotStart
from fetchml.server.cluster_wiring import tasks_folder
from fetchml.server.slurm_accounts import accounts_of
from fetchml.server.slurm_wiring import transport_of
from fetchml.views import Finding

FOLDER_SECONDS = 10
FREE_GB = 1


def cluster(settings: Settings) -> Iterator[Finding]:
    yield _user(settings)
    yield _shared_folder(settings)
    yield from _slurm(settings)
    yield from users(settings)
    yield from configuration(settings)


def _user(settings: Settings) -> Finding:
    name = "cluster user"
    slurm = settings.slurm
    with_account = sum("user" in parameters for parameters in slurm.users.values())
    others = "are refused" if slurm.unmapped == "refuse" else "run as the server's own account"
    if with_account:
        finding = f"tasks of {with_account} users run as accounts of their own; those of others"
        if os.geteuid() != 0 or slurm.unmapped == "refuse":
            return Finding(name, f"{finding} {others}")
    elif os.geteuid() != 0:
        return Finding(name, "tasks run as the server's own user, without containers")
    if slurm.allow_root:
        return Finding(
            name,
            "tasks run as root on the nodes",
            advice="Start the server as an account of its own that exists on the nodes too.",
        )
    fix = (
        "Start the server as an account that exists on the nodes too, or give all users accounts "
        '([slurm.users], [slurm] unmapped = "refuse").'
    )
    return Finding(name, "a server of root would run tasks as root on the nodes", fix)


def _shared_folder(settings: Settings) -> Finding:
    name = "shared folder"
    try:
        folder = tasks_folder(settings)
    except CannotStart as error:
        return Finding(name, "not set", str(error))
    # In a process of its own: a network disk that hangs would keep a thread for ever.
    command = ["sh", "-c", 'test -d "$1" && test -w "$1"', "probe", str(folder)]
    try:
        usable = subprocess.run(command, timeout=FOLDER_SECONDS, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        fix = "Check its file server and its mount."
        return Finding(name, f"{folder} does not answer in {FOLDER_SECONDS} s", fix)
    if not usable:
        fix = "Create it where all nodes see it under the same path, and give it to the server."
        return Finding(name, f"{folder} is not a folder that the server can write to", fix)
    try:
        check_shared(folder)
        free_gb = shutil.disk_usage(folder).free >> 30
    except OSError as error:
        return Finding(
            name, f"{folder} can't be written: {error.strerror}", "Repair its file system."
        )
    fix = "Free some of it." if free_gb < FREE_GB else ""
    return Finding(name, f"{folder}, {free_gb} GiB free", fix)


def _slurm(settings: Settings) -> Iterator[Finding]:
    name = "slurm"
    try:
        transport = transport_of(settings.slurm)
        version, nodes = asyncio.run(_version_and_nodes(transport))
    except CannotStart as error:
        yield Finding(name, "not set up", str(error))
        return
    except SlurmAway as error:
        fix = "Check slurmctld (scontrol ping) and, with [slurm] transport rest, slurmrestd."
        if "token" in str(error).lower() or "auth" in str(error).lower():
            fix = "Give the server a valid token: [slurm] token_file (scontrol token) or jwt_key."
        yield Finding(name, str(error), fix)
        return
    yield Finding(
        name,
        f"version {version} over {settings.slurm.transport}",
        advice=version_advice(version),
    )
    yield from node_findings(settings, nodes)


async def _version_and_nodes(transport: SlurmTransport) -> tuple[str, list[Node]]:
    try:
        version = await transport.open()
        await transport.states()
        return version, await transport.nodes()
    finally:
        await transport.close()


COMMAND_SECONDS = 5


def reply(*command: str) -> str | None:
    """Return what a command prints; `None` if it is missing, fails, or takes longer than
    `COMMAND_SECONDS`."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


OLDEST = (20, 11)
"""The oldest release whose replies are tested."""


def version_advice(shown: str) -> str:
    """Return advice about a release of Slurm; empty if there is none."""
    match = re.match(r"(\d+)\.(\d+)", shown)
    if match is None or (int(match[1]), int(match[2])) >= OLDEST:
        return ""
    return f"Tested from {OLDEST[0]}.{OLDEST[1]:02} on: update Slurm."


def node_findings(settings: Settings, listed: Sequence[Node]) -> Iterator[Finding]:
    """Check the nodes of the partition."""
    usable = [node for node in listed if node.takes_work]
    fix = "" if usable else "Resume nodes (sinfo -R shows why they are down)."
    yield Finding("cluster nodes", f"{len(usable)} of {len(listed)} take work", fix)
    partition = settings.slurm.partition
    partitions = sorted({name for node in listed for name in node.partitions})
    inside = [node for node in listed if partition is None or partition in node.partitions]
    if partition is not None:
        name = "partition"
        if not inside:
            names = ", ".join(partitions) or "none"
            fix = f"Set [slurm] partition to one of: {names}."
            yield Finding(name, f"{partition} has no node", fix)
            return
        able = sum(node.takes_work for node in inside)
        fix = "" if able else "Resume its nodes, or set another [slurm] partition."
        yield Finding(name, f"{partition}: {able} of {len(inside)} nodes take work", fix)
    gpus, used = sum(node.gpu for node in inside), sum(node.gpu_used for node in inside)
    kinds = ", ".join(sorted({node.gpu_name for node in inside if node.gpu_name}))
    advice = "" if gpus else "Tasks with GPUs are refused: the site must set GresTypes=gpu."
    yield Finding(
        "cluster gpus",
        f"{gpus}{f' ({kinds})' if kinds else ''}, {used} in use" if gpus else "none",
        advice=advice,
    )


def configuration(settings: Settings) -> Iterator[Finding]:
    """Check slurm.conf, where Slurm's commands are at hand."""
    shown = _shown()
    if shown is None:
        yield Finding("kill wait", "not checked: scontrol does not answer")
        return
    yield accounts(settings, shown)
    if any("user" in parameters for parameters in settings.slurm.users.values()):
        yield _private(shown)
    yield _kill_wait(settings, shown)
    yield _job_count(settings, shown)
    yield _plugins(shown)


def _shown() -> Mapping[str, str] | None:
    """Return the values of `scontrol show config`; `None` if there is no answer."""
    shown = reply("scontrol", "show", "config")
    if shown is None:
        return None
    lines = (line.partition("=") for line in shown.splitlines())
    return {name.strip(): value.strip() for name, equals, value in lines if equals} or None


def _private(shown: Mapping[str, str]) -> Finding:
    """Check whether the server's account may see the jobs of users' accounts."""
    name, hidden = "cluster jobs", shown.get("PrivateData", "none")
    if "jobs" not in hidden:
        return Finding(name, "the jobs of all accounts are shown")
    return Finding(
        name,
        f"PrivateData is {hidden}",
        advice="Unless the server's account is root or an operator of Slurm, it asks for each job "
        "as the job's account, which costs more: sacctmgr modify user NAME set adminlevel=operator",
    )


def _kill_wait(settings: Settings, shown: Mapping[str, str]) -> Finding:
    """Slurm's own end of a job must leave the shim its grace period."""
    name, grace = "kill wait", settings.tasks.grace_seconds
    match = re.match(r"\d+", shown.get("KillWait", ""))
    if match is None:
        return Finding(name, "not reported by scontrol")
    seconds = int(match[0])
    if seconds <= grace:
        return Finding(
            name,
            f"KillWait is {seconds} s, and [tasks] grace_seconds {grace}",
            advice="Where Slurm itself ends a job, the task's end is not recorded: set KillWait "
            "above grace_seconds.",
        )
    return Finding(name, f"KillWait is {seconds} s, above [tasks] grace_seconds {grace}")


def _job_count(settings: Settings, shown: Mapping[str, str]) -> Finding:
    """The cluster must be able to hold what is handed over."""
    name, wanted = "job count", settings.slurm.max_pending
    most = shown.get("MaxJobCount", "")
    if not most.isdecimal():
        return Finding(name, "not reported by scontrol")
    advice = ""
    if int(most) <= wanted:
        advice = "Slurm refuses jobs before the server stops to hand over: lower max_pending."
    return Finding(name, f"MaxJobCount is {most}, [slurm] max_pending {wanted}", advice=advice)


def _plugins(shown: Mapping[str, str]) -> Finding:
    """Check whether the cluster confines the processes of jobs."""
    proctrack = shown.get("ProctrackType", "unknown")
    advice = ""
    if "cgroup" not in proctrack:
        advice = (
            "Processes that leave their session outlive their job, and memory is not limited: "
            "the site should set ProctrackType=proctrack/cgroup and TaskPlugin=task/cgroup."
        )
    select = shown.get("SelectType", "unknown")
    if "cons_tres" not in select:
        advice += " GPUs need SelectType=select/cons_tres."
    return Finding("cluster plugins", f"{proctrack}, {select}", advice=advice.strip())


_NAMED = 4
"""Faults that are named; more are counted."""
_ALL = frozenset({"all"})


class Association(NamedTuple):
    """The right of an account of this host to use an account of Slurm with these QOS."""

    account: str
    qos: frozenset[str]


def accounts(settings: Settings, shown: Mapping[str, str]) -> Finding:
    """Check the accounts and QOS of `[slurm]`. `shown`: slurm.conf."""
    name, slurm = "cluster accounts", settings.slurm
    enforced = frozenset(shown.get("AccountingStorageEnforce", "").lower().split(","))
    if not enforced & {"associations", "limits", "qos", "safe", *_ALL}:
        return Finding(name, "the cluster does not enforce accounts")
    if slurm.ssh is not None:
        return Finding(name, f"not checked: jobs are submitted by the account on {slurm.ssh}")
    own = pwd.getpwuid(os.geteuid()).pw_name
    checks_qos = bool(enforced & {"qos", *_ALL})
    by_user = dict[str, list[Association] | None]()
    faults = []
    for where, of, asked in _settings(slurm):
        user = of or own
        if user not in by_user:
            by_user[user] = _associations(user, shown.get("ClusterName", ""))
        if (listed := by_user[user]) is None:
            return Finding(name, "not checked: sacctmgr does not answer")
        wrong = _association_faults(user, asked, listed, checks_qos=checks_qos)
        faults += [f"{where}: {fault}" for fault in wrong]
    if not faults:
        has = (
            f"{user} has {', '.join(sorted({each.account for each in listed or ()}))}"
            for user, listed in islice(by_user.items(), _NAMED)
        )
        return Finding(name, "; ".join(has))
    user = next(iter(by_user)) if len(by_user) == 1 else "NAME"
    more = f"; and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
    fix = (
        "Slurm refuses such jobs: change the settings, or let an administrator of the cluster run "
        f"sacctmgr add user {user} account=ACCOUNT, or "
        f"sacctmgr modify user {user} where account=ACCOUNT set qos+=QOS."
    )
    return Finding(name, "; ".join(faults[:_NAMED]) + more, fix)


def _settings(slurm: SlurmSettings) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    """Yield the parameters that jobs get by the settings, with the table's name and the account
    that submits them, empty for the server's."""
    of_all = {n: v for n, v in (("account", slurm.account), ("qos", slurm.qos)) if v}
    if slurm.unmapped == "service":
        yield "[slurm]", "", of_all
    for user, own in slurm.users.items():
        if own.keys() & {"account", "qos", "user"}:
            yield f"[slurm.users.{user}]", own.get("user", ""), {**of_all, **own}
    for entry in slurm.allow if slurm.unmapped == "service" else ():
        name, _, value = entry.partition("=")
        if name in ("account", "qos") and value:
            yield f"[slurm] allow {entry}", "", {name: value}


def _association_faults(
    user: str, asked: Mapping[str, str], listed: list[Association], *, checks_qos: bool
) -> Iterator[str]:
    account, qos = asked.get("account"), asked.get("qos")
    inside = [each for each in listed if account is None or each.account == account.lower()]
    if not inside:
        yield f"{user} has no association" + (f" with account {account}" if account else "")
    elif checks_qos and qos and not any(qos.lower() in each.qos for each in inside):
        yield f"{user} may not use QOS {qos}" + (f" with account {account}" if account else "")


def _associations(user: str, cluster: str) -> list[Association] | None:
    """Return what sacctmgr lists of an account; `None` if there is no answer."""
    which = [f"user={user}", f"cluster={cluster}", "format=account,qos"]
    if value_fault("account", cluster) is not None:
        return None
    command = ("sacctmgr", "--noheader", "--parsable2", "--readonly", "show", "associations")
    shown = reply(*command, *which)
    if shown is None:
        return None
    lines = (line.partition("|") for line in shown.lower().splitlines())
    return [Association(account, frozenset(qos.split(","))) for account, _, qos in lines if account]


_USERS = "cluster users"
_ENTER_SECONDS = 5
NO_JOB = 0x03FFFFFE
"""The highest id, which Slurm gives to no job before it has used up all others."""


def users(settings: Settings) -> Iterator[Finding]:
    """Check the accounts of `[slurm.users]`; nothing if there are none."""
    try:
        accounts = accounts_of(settings.slurm)
        others = {
            each.name: each for each in accounts.by_user.values() if each.name in accounts.others
        }
        if not others:
            return
        faults = asyncio.run(_account_faults(transport_of(settings.slurm), others))
        yield _accounts_finding(sorted(others), faults)
        yield _users_files(tasks_folder(settings), list(others.values()))
    except CannotStart as error:
        yield Finding(_USERS, "not set up", str(error))


async def _account_faults(transport: SlurmTransport, names: Iterable[str]) -> list[str]:
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


def _accounts_finding(names: Sequence[str], faults: list[str]) -> Finding:
    if not faults:
        shown = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
        return Finding(_USERS, f"Slurm can be asked as {len(names)} accounts: {shown}")
    more = f"; and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
    return Finding(
        _USERS,
        "; ".join(faults[:_NAMED]) + more,
        "Renew their tokens ([slurm.users.NAME] token_file), or let the site allow [slurm] become "
        "(docs/cluster-accounts.md).",
    )


def _users_files(shared: Path, accounts: Sequence[Account]) -> Finding:
    name = "users' files"
    try:
        if not access_lists.are_supported(shared):
            fix = "Use a file system with POSIX access lists (ACLs), or give no user an account."
            return Finding(name, f"{shared} has no access lists", fix)
    except OSError as error:
        return Finding(name, f"{shared} can't be used: {error.strerror}", "Repair its file system.")
    if os.geteuid() != 0:
        return Finding(name, f"{shared} has access lists")
    closed = [each.name for each in accounts if not _may_enter(each, shared.parent)]
    if closed:
        return Finding(
            name,
            f"{', '.join(closed[:_NAMED])} can't enter {shared.parent}",
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
            timeout=_ENTER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
