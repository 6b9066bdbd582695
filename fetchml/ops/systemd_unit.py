"""The text of the systemd unit."""

from collections.abc import Sequence
from pathlib import Path

from fetchml.system.capabilities import HAND_OVER, NET_ADMIN

UNIT = Path("/etc/systemd/system/fetchml.service")
USER = "fetchml"
MEMORY_MAX_GIB = 6
"""Memory that the unit grants a server whose tasks run in containers. The sum of `bounds` is just
lower with the default settings; connections of HTTP and gRPC are an eighth of it."""
STATE = Path("/var/lib")
OPTIONS = ("data_dir", "config", "http", "grpc", "launcher", "log_format")
"""Options of `serve`, by their Python names."""
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=:,@[]")


class BadArgument(Exception):
    """systemd would misread an argument; the message names it."""


def serve_options(text: str) -> dict[str, str]:
    """Return the options of the unit's command, by names of OPTIONS. Raises BadArgument."""
    commands = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    words = commands[0].split() if len(commands) == 1 else []
    if words[1:2] != ["serve"]:
        raise BadArgument("it has no single ExecStart=… serve")
    flags = {f"--{name.replace('_', '-')}": name for name in OPTIONS}
    options = dict[str, str]()
    left = iter(words[2:])
    for word in left:
        flag, equals, value = word.partition("=")
        value = value if equals else next(left, "")
        if flag not in flags or not value or not _SAFE.issuperset(value):
            raise BadArgument(f"its ExecStart has {word!r} in it")
        options[flags[flag]] = value
    return options


def unit(
    command: Sequence[str],
    *,
    data_dir: Path,
    docker: bool,
    docker_group: bool,
    writable: Sequence[Path] = (),
) -> str:
    """Return the text of the unit. `docker`: tasks run in containers, and only the server in the
    service's control group. `writable`: folders besides the data directory. Raises BadArgument."""
    for word in (*command, str(data_dir), *map(str, writable)):
        if not word or not _SAFE.issuperset(word):
            raise BadArgument(f"{word!r} can't stand in a unit: use plain letters and digits")
    return f"""\
# Made by `fetchml service install`; the next one overwrites it. Changes go beside it:
# `systemctl edit fetchml`.
[Unit]
Description=FetchML, a job server for machine-learning training
Wants=network-online.target
After=network-online.target docker.service

[Service]
ExecStart={" ".join(command)}
Type=notify
# The executable is two processes, and the second one serves.
NotifyAccess=all
# The event loop reports three times as often that it is alive.
WatchdogSec=60
Restart=always
RestartSec=2
# A start may have a long journal to read.
TimeoutStartSec=300
TimeoutStopSec=20
# Running tasks go on when the server stops, and the next start finds them.
KillMode=process
OOMPolicy=continue

User={USER}
{f"SupplementaryGroups=docker{chr(10)}" if docker_group else ""}UMask=0077
{_folders(data_dir, writable, docker)}
# Where the executable unpacks itself: /tmp may forbid to run programs.
CacheDirectory={USER}
CacheDirectoryMode=0700
Environment=TMPDIR=/var/cache/{USER}
# What a start on a full disk has left there; a start with room would do this by itself.
ExecStartPre=/bin/sh -c 'rm -rf /var/cache/{USER}/_MEI*'

LimitNOFILE=1048576
{_limits(docker)}

NoNewPrivileges=yes
{_capabilities(docker)}
ProtectSystem=strict
ProtectHome=read-only
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
RemoveIPC=yes
{_confinement(docker)}
[Install]
WantedBy=multi-user.target
"""


def _capabilities(docker: bool) -> str:
    """Return the lines about capabilities. Plain tasks are processes of the service, so that it has
    none with them."""
    names = " ".join([*HAND_OVER, *NET_ADMIN]) if docker else ""
    lines = [f"CapabilityBoundingSet={names}", f"AmbientCapabilities={names}"]
    if docker:
        lines.insert(0, "# Each user's containers have a uid: the server gives them their files,")
        lines.insert(1, "# and reads and removes what they wrote. NET_ADMIN closes the cloud's")
        lines.insert(
            2, "# metadata service to them. No program that it starts inherits them but iptables."
        )
    return "\n".join(lines)


def _confinement(docker: bool) -> str:
    """Return the restrictions that would also bind tasks if they were processes of the service.

    The server needs, and so keeps: other processes in /proc (it follows those of containers),
    /proc/sys, the host's network, the docker group's rights on a socket.
    """
    if not docker:
        return ""
    return """\
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @debug @mount
SystemCallFilter=@chown
SystemCallErrorNumber=EPERM
MemoryDenyWriteExecute=yes
# The driver's own devices: NVML asks them.
DevicePolicy=closed
DeviceAllow=char-nvidia rw
DeviceAllow=char-nvidia-frontend rw
DeviceAllow=char-nvidia-caps rw
DeviceAllow=char-nvidia-uvm rw
"""


def _folders(data_dir: Path, others: Sequence[Path], docker: bool) -> str:
    """Return the lines about folders that the server may write to."""
    lines = []
    writable = [str(folder) for folder in others]
    if data_dir.parent == STATE:
        lines += [f"StateDirectory={data_dir.name}", "StateDirectoryMode=0700"]
    else:
        writable.append(str(data_dir))
    if docker:
        lines.append("PrivateTmp=yes")
    else:
        # systemd empties a private /tmp at each stop, and tasks go on using it.
        writable += ["/tmp", "-/var/tmp"]  # noqa: S108 - tasks' own, as on any machine
    if writable:
        lines.append(f"ReadWritePaths={' '.join(writable)}")
    return "\n".join(lines)


def _limits(docker: bool) -> str:
    if docker:
        return f"OOMScoreAdjust=-500\nTasksMax=4096\nMemoryMax={MEMORY_MAX_GIB}G"
    # A score that spares the server would spare its tasks too, which inherit it.
    return "# Tasks are plain processes of this service.\nTasksMax=infinity"
