"""Firewall rules that keep containers away from the cloud's metadata service.

The service answers every program of a host with the credentials of the host's role. Its addresses
are link-local; Alibaba's is not. DNS stays open: the same addresses are some clouds' resolvers. The
engine sends every forwarded packet through the chain DOCKER-USER first, and leaves what others
put there. Containers on FetchML's own network have no IPv6.
"""

import os
import re
import shlex
import subprocess
from pathlib import Path

from fetchml.system import capabilities

ADDRESSES = ("169.254.0.0/16", "100.100.100.200/32")
_CHAIN = "DOCKER-USER"
_MARK = "fetchml-metadata"
_SECONDS = 10
_INTERFACE, _ADDRESS = re.compile(r" -i (\S+)"), re.compile(r" -d (\S+)")
_INTERFACES = Path("/sys/class/net")


class RulesRefused(Exception):
    """The rules can't be read or changed: the reason."""


def commands() -> list[str]:
    """Return commands that close the service to all containers of this host."""
    return [shlex.join(["iptables", "-I", _CHAIN, *_rule(address)]) for address in ADDRESSES]


def set_rules(interface: str, *, closed: bool) -> None:
    """Close the service to containers behind a bridge, or open it. Removes the rules of bridges
    that are gone. Raises RulesRefused."""
    if not (_INTERFACES / interface).exists():
        raise RulesRefused("the engine's networks are not those of this host")
    there = set()
    for line in _listed():
        match = _INTERFACE.search(line)
        if match is None or f"--comment {_MARK}" not in line:
            continue
        if (match[1] == interface and not closed) or not (_INTERFACES / match[1]).exists():
            _iptables("-D", *shlex.split(line)[1:])
        elif match[1] == interface and (to := _ADDRESS.search(line)):
            there.add(to[1])
    for address in ADDRESSES if closed else ():
        if address not in there:
            marked = ("-m", "comment", "--comment", _MARK)
            _iptables("-I", _CHAIN, "-i", interface, *marked, *_rule(address))


def is_closed(interface: str) -> bool:
    """Return whether rules close the service to containers behind a bridge. Raises RulesRefused."""
    matched = set()
    for line in _listed():
        via, address = _INTERFACE.search(line), _ADDRESS.search(line)
        if address is not None and (via is None or via[1] == interface):
            matched |= (
                {address[1]} if line.split(" -j ")[-1].startswith(("REJECT", "DROP")) else set()
            )
    return matched >= set(ADDRESSES)


def _rule(address: str) -> list[str]:
    return ["-d", address, "-p", "tcp", "!", "--dport", "53", "-j", "REJECT"]


def _listed() -> list[str]:
    return _iptables("-S", _CHAIN).splitlines()


def _iptables(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["iptables", "--wait", "5", *arguments],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            preexec_fn=None if os.geteuid() == 0 else capabilities.lend_net_admin,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RulesRefused(f"iptables: {error}") from error
    if done.returncode:
        raise RulesRefused(done.stderr.strip().partition("\n")[0] or "iptables failed")
    return done.stdout
