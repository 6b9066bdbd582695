"""Accounts and QOS of the settings: whether the cluster lets the server's account use them."""

import os
import pwd
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from fetchml.config.sections.slurm import SlurmSettings
from fetchml.config.settings import Settings
from fetchml.core.requests.slurm import value_fault
from fetchml.ops.checks import cluster_commands
from fetchml.views import Finding

_SHOWN = 4
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
        return Finding(name, f"not known here: jobs are those of the account on {slurm.ssh}")
    own = pwd.getpwuid(os.geteuid()).pw_name
    checks_qos = bool(enforced & {"qos", *_ALL})
    known = dict[str, list[Association] | None]()
    faults = []
    for where, of, asked in _settings(slurm):
        user = of or own
        if user not in known:
            known[user] = _associations(user, shown.get("ClusterName", ""))
        if (listed := known[user]) is None:
            return Finding(name, "not known here: there is no sacctmgr that answers")
        found = _faults(user, asked, listed, checks_qos=checks_qos)
        faults += [f"{where}: {fault}" for fault in found]
    if not faults:
        has = (
            f"{user} has {', '.join(sorted({each.account for each in listed or ()}))}"
            for user, listed in islice(known.items(), _SHOWN)
        )
        return Finding(name, "; ".join(has))
    user = next(iter(known)) if len(known) == 1 else "NAME"
    more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    fix = (
        "Slurm refuses such jobs: change the settings, or let an administrator of the cluster run "
        f"sacctmgr add user {user} account=ACCOUNT, or "
        f"sacctmgr modify user {user} where account=ACCOUNT set qos+=QOS."
    )
    return Finding(name, "; ".join(faults[:_SHOWN]) + more, fix)


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


def _faults(
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
    shown = cluster_commands.reply(*command, *which)
    if shown is None:
        return None
    lines = (line.partition("|") for line in shown.lower().splitlines())
    return [Association(account, frozenset(qos.split(","))) for account, _, qos in lines if account]
