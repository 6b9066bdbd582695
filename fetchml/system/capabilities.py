"""Linux capabilities: what a server that is not root needs to give each user's containers a uid,
and to keep them away from the cloud's metadata service.

The systemd unit grants them as ambient capabilities, which every child process would inherit. The
server keeps them for itself: plain processes, tasks among them, get none.
"""

import ctypes
import os
from pathlib import Path

HAND_OVER = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_FOWNER": 3}
"""With their numbers: to give files to a task's uid and take them back; to read and remove what the
task wrote; to change its modes. Without the last even CAP_CHOWN takes no setuid file back: the
kernel clears the bit, which is a change of mode."""
NET_ADMIN = {"CAP_NET_ADMIN": 12}
"""With its number: to set the firewall rules of containers."""
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 2, 4
_CAPABILITY_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


def may_hand_over(pid: int | None = None) -> bool:
    """Return whether a process (`None`: this one) has HAND_OVER in effect, as root has.

    Raises OSError if there is no such process.
    """
    status = Path(f"/proc/{pid or 'self'}/status").read_text()
    lines = dict(line.partition(":")[::2] for line in status.splitlines())
    effective = int(lines["CapEff"], 16)
    return all(effective >> number & 1 for number in HAND_OVER.values())


def keep_from_children() -> None:
    """Clear the ambient set, so that no program that is started from here has a capability.

    Call it while the process has a single thread: later threads inherit the sets of the one that
    starts them. Root's children are root. Raises OSError.
    """
    _check(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))


def lend_net_admin() -> None:
    """Let the program that a child is about to execute have NET_ADMIN, if this process has it. For
    `preexec_fn` of a program that changes the host's firewall."""
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, NET_ADMIN["CAP_NET_ADMIN"], 0, 0)


def drop_all() -> None:
    """Give up every capability, for children too; root keeps its own. With a single thread, as
    above. Raises OSError."""
    if os.geteuid() == 0:
        return
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    _check(_libc.capset(header, none))


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
