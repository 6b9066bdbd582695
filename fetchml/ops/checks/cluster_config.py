"""Checks of a cluster's configuration: its partition, its GPUs, its version, its plugins."""

import re
from collections.abc import Iterator, Mapping, Sequence

from fetchml.config.settings import Settings
from fetchml.ops.checks import cluster_commands
from fetchml.ops.checks.cluster_accounts import accounts
from fetchml.ports.cluster import Node
from fetchml.views import Finding

OLDEST = (20, 11)
"""The oldest release whose replies are tested."""


def version(shown: str) -> str:
    """Return advice about a release of Slurm; empty if there is none."""
    found = re.match(r"(\d+)\.(\d+)", shown)
    if found is None or (int(found[1]), int(found[2])) >= OLDEST:
        return ""
    return f"Tested from {OLDEST[0]}.{OLDEST[1]:02} on: update Slurm."


def nodes(settings: Settings, found: Sequence[Node]) -> Iterator[Finding]:
    """Check the nodes of the partition."""
    usable = [node for node in found if node.takes_work]
    fix = "" if usable else "Resume nodes (sinfo -R shows why they are down)."
    yield Finding("cluster nodes", f"{len(usable)} of {len(found)} take work", fix)
    partition = settings.slurm.partition
    known = sorted({name for node in found for name in node.partitions})
    inside = [node for node in found if partition is None or partition in node.partitions]
    if partition is not None:
        name = "partition"
        if not inside:
            listed = ", ".join(known) or "none"
            fix = f"Set [slurm] partition to one of: {listed}."
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
        yield Finding("kill wait", "not known here: there is no scontrol that answers")
        return
    yield accounts(settings, shown)
    if any("user" in given for given in settings.slurm.users.values()):
        yield _private(shown)
    yield _kill_wait(settings, shown)
    yield _job_count(settings, shown)
    yield _plugins(shown)


def _shown() -> Mapping[str, str] | None:
    """Return the values of `scontrol show config`; `None` if there is no answer."""
    shown = cluster_commands.reply("scontrol", "show", "config")
    if shown is None:
        return None
    lines = (line.partition("=") for line in shown.splitlines())
    found = {name.strip(): value.strip() for name, equals, value in lines if equals}
    return found or None


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
    found = re.match(r"\d+", shown.get("KillWait", ""))
    if found is None:
        return Finding(name, "not known here")
    seconds = int(found[0])
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
        return Finding(name, "not known here")
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
