"""The files on the shared folder by which a job starts its attempt.

The job's own script, which Slurm stores, has nothing but the path of `start`. That file has the
task's environment, waits for the gate, and becomes the shim. It stays the same however often the
job is submitted: the shim's claim lets one of the jobs start. Its first line, which shells skip,
has the size of the rest and the request to Slurm. A file of another size was not written to its
end, so there is no job.
"""

import errno
import os
import re
from dataclasses import replace
from pathlib import Path
from shlex import quote

import msgspec

from fetchml.adapters.linked_folders import link_folders, linked_folders
from fetchml.adapters.shim_command import shim_command
from fetchml.adapters.slurm.containers import ENVIRONMENT, Containers
from fetchml.adapters.slurm.job import Submission
from fetchml.core.model import AttemptEnd
from fetchml.files import secrets_file, untrusted
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.layout import (
    DATASETS,
    GPU_SAMPLER,
    NODE_RELAY,
    SECRETS,
    SHIM,
    TASK_INPUTS,
    VOLUMES,
)
from fetchml.files.own_file import write_at_once, write_durably
from fetchml.ports.launcher import LaunchSpec
from fetchml.ports.task_environment import (
    CUDA_DEVICES,
    DEFAULT_PATH,
    PROCESS_DEFAULTS,
    cluster_gpus,
    environment,
)
from fetchml.shim import CLAIM_EXISTS, node_program
from fetchml.shim import path as shim_path

START = "start"
DRAFT = "start.new"
OUTPUT = "job.out"
_MACHINES = ("x86_64", "aarch64")
_READONLY = frozenset({"BASHOPTS", "BASH_VERSINFO", "EUID", "GROUPS", "PPID", "SHELLOPTS", "UID"})
"""Variables that bash, where it is /bin/sh, lets no script set."""
_OUTPUT_BYTES = 4096
SHOWN_CHARACTERS = 300
_OF_SLURM = re.compile(
    r"^(?:(?:slurmstepd-\S+|srun): (?:error|fatal): (?:\S*spank|Failed to invoke spank"
    r"|_fork_all_tasks|\S+: task 0: Exited)\b.*\n?|slurmstepd-\S+: error: )",
    re.MULTILINE,
)
"""Messages that Slurm adds to those of a plugin that has failed."""
_NO_FILE = (errno.EISDIR, errno.ELOOP, errno.ENXIO)
"""Errors of a folder, a link and a socket, where a task has put one in the place of a record."""
_REQUEST = re.compile(rb"# ([0-9]{1,9}) (\{.*\})\n")
_REQUEST_BYTES = 1 << 16
"""Longest first line of `start`."""
MOST_NAMES = 1_000
"""Files in an attempt's `run/` that are listed: its task can create any number."""
USAGE_MS = 10_000
"""Interval at which the shim on a node records the use of its processes, and looks for another
time limit: a network disk wakes nobody."""

_START_SCRIPT = """\
node=$NODE
gpus=$GPUS
numbers=$NUMBERS
unset NODE GPUS NUMBERS PWD OLDPWD
umask 077
trap 'exit 143' HUP INT TERM
until [ -e {run}/open ]; do
    # A listing is read again from a network disk, where the absence of a file is remembered.
    ls {run} >/dev/null || exit 125
    sleep 0.2
done
[ -s {run}/node ] || printf 'node=%s\\ngpus=%s\\n' "$node" "$numbers" >{run}/node
{last}
"""
"""Of a task whose gate is open it starts no other program: each takes a millisecond of the node."""

_PROCESS = """\
[ -r /proc/sys/kernel/arch ] && read -r machine </proc/sys/kernel/arch || machine=$(uname -m)
set -- {shims}/"$machine" {arguments}
{exports}
trap - HUP INT TERM
exec {env}"$@"
"""

_CONTAINER = """\
[ ! -e {run}/claim ] || exit {claim_exists}
export PATH={path} HOME="$(getent passwd "$(id -u)" | cut -d: -f6)"
[ ! -d "/run/user/$(id -u)" ] || export XDG_RUNTIME_DIR="/run/user/$(id -u)"
trap - HUP INT TERM
{script}
"""


class Records(msgspec.Struct, frozen=True):
    """The records in an attempt's folder, read in one go."""

    was_prepared: bool
    is_open: bool
    """Whether the gate was opened."""
    is_claimed: bool
    is_revoked: bool
    has_started: bool
    has_ended: bool
    end: AttemptEnd | None = None
    """`None` if it has not ended, or if the task spoilt the record."""
    renewal: int | None = None
    """Changes with each renewal of the lease; `None` if there is none."""


NOTHING_YET = Records(
    was_prepared=True,
    is_open=True,
    is_claimed=False,
    is_revoked=False,
    has_started=False,
    has_ended=False,
)
"""Of an attempt that was just handed over."""


def install_shims(shared_dir: Path) -> Path:
    """Put the shims of all machines, and their programs, where nodes can execute them; return
    their folder. Raises OSError."""
    folder = shared_dir / SHIM
    folder.mkdir(mode=0o700, exist_ok=True)
    for target, source in (
        *((folder / machine, shim_path(machine)) for machine in _MACHINES),
        *((folder / name, node_program(name)) for name in (NODE_RELAY, GPU_SAMPLER)),
    ):
        data = source.read_bytes()
        if target.exists() and target.read_bytes() == data:
            continue
        # A new file under the same name: a job that is starting keeps the old one.
        draft = folder / f".{target.name}.{os.getpid()}"
        draft.write_bytes(data)
        draft.chmod(0o700)
        draft.rename(target)
    return folder


def write(
    run: LaunchSpec,
    shims: Path,
    submission: Submission,
    containers: Containers | None = None,
    *,
    synced: bool = True,
    replaces: bool = False,
) -> None:
    """Create the attempt's folder and its start file. `containers`: `None` if the command is a
    plain process of the node. `synced`: whether the file is on the disk on return. `replaces`: an
    incomplete file is there, and there may be a job that reads it.

    Raises OSError, PrepareError.
    """
    folder = AttemptFolder(run.folder)
    uid, gid = owner_of(run)
    folder.create(uid, gid)
    is_own = uid == os.geteuid()
    if run.secrets is not None:
        secrets = secrets_file.make_folder(run.folder)
        secrets_file.write(run.folder, run.secrets.content, uid, gid)
        if not is_own:
            os.chown(secrets, uid, gid)
    lease_ms = submission.lease_seconds * 1000
    if containers is not None and not is_own:
        containers = replace(containers, owner=(uid, gid))
    if containers is None:
        last = _process(run, shims, lease_ms)
    else:
        last = _CONTAINER.format(
            run=quote(str(folder.run)),
            claim_exists=CLAIM_EXISTS,
            path=DEFAULT_PATH,
            script=containers.script(run, shims, usage_ms=USAGE_MS, lease_ms=lease_ms),
        )
        variables = containers.environment(run)
        write_durably(run.folder / ENVIRONMENT, variables, sync_name=False)
        if not is_own:
            os.chown(run.folder / ENVIRONMENT, uid, gid)
    script = _START_SCRIPT.format(run=quote(str(folder.run)), last=last)
    request = b"# %d %b\n" % (len(script.encode()), msgspec.json.encode(submission))
    start = run.folder / START
    path = run.folder / DRAFT if replaces else start
    write_at_once(path, request + script.encode(), synced=synced)
    if not is_own:
        # Whoever enters the folder may read it, but nobody else replaces what is submitted again.
        path.chmod(0o644)
        for name in (DATASETS, TASK_INPUTS, VOLUMES):
            for inner, _, _ in os.walk(run.folder / name):
                Path(inner).chmod(0o755)
        _make_output(run.folder / OUTPUT, uid, gid)
    if replaces:
        path.rename(start)


def owner_of(run: LaunchSpec) -> tuple[int, int]:
    """Return the uid and gid as whom the attempt's job runs."""
    if isinstance(run.owner, tuple):
        return run.owner
    return os.geteuid(), os.getegid()


def _make_output(path: Path, uid: int, gid: int) -> None:
    """Slurm opens the file as the account, which can't create one in the attempt's folder."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(path, flags, 0o600)
    try:
        os.fchown(fd, uid, gid)
    finally:
        os.close(fd)


def has_begun(path: Path) -> bool:
    """Whether the attempt was prepared, or its preparation broken off."""
    return os.path.lexists(path / START)


def was_prepared(path: Path) -> bool:
    """Whether the attempt's start file is complete, so that there may be a job. Raises OSError."""
    try:
        submission(path)
    except (FileNotFoundError, msgspec.DecodeError):
        return False
    return True


def _process(run: LaunchSpec, shims: Path, lease_ms: int) -> str:
    """The lines that start the command as a process of the node. Raises OSError, PrepareError."""
    folder = AttemptFolder(run.folder)
    link_folders(run)
    env = environment(run, linked_folders(run), cluster_gpus(run.gpu), PROCESS_DEFAULTS)
    readonly = sorted(env.keys() & _READONLY)
    exports = [f"{k}={quote(v)}" for k, v in env.items() if k not in _READONLY]
    exports += [f'{CUDA_DEVICES}="$gpus"'] if run.gpu else []
    shim = shim_command(
        shims,  # Which of them, the node decides.
        run,
        run_folder=folder.run,
        workspace=folder.workspace,
        secrets=run.folder / SECRETS if run.secrets is not None else None,
        control=folder.control if folder.takes_limits() else None,
        control_ms=USAGE_MS,
        usage_ms=USAGE_MS,
        lease_ms=lease_ms,
        relay=shims / NODE_RELAY,
        sampler=shims / GPU_SAMPLER,
    )
    return _PROCESS.format(
        exports="\n".join(f"export {each}" for each in exports),
        # Through a command line, which others on the node can see, goes only what must.
        env=" ".join(["env", *(quote(f"{k}={env[k]}") for k in readonly), ""]) if readonly else "",
        shims=quote(str(shims)),
        arguments=" ".join(map(quote, shim[1:])),
    )


def read(path: Path) -> Records:
    """Raises OSError if the shared folder fails, so that this is not taken for an absent file."""
    folder = AttemptFolder(path)
    try:
        names = untrusted.first_names(folder.run, MOST_NAMES)
    except FileNotFoundError:
        if not path.parent.parent.parent.is_dir():
            raise  # Not mounted.
        names = frozenset()
    claim = folder.claim() if "claim" in names else None
    has_ended, end = _end(folder) if "exit" in names else (False, None)
    return Records(
        was_prepared=has_begun(path),
        is_open=folder.gate_was_opened(),
        is_claimed=claim is not None,
        is_revoked=claim is not None and claim.revoked,
        has_started="started" in names,
        has_ended=has_ended,
        end=end,
        renewal=_renewal(folder.run) if "lease" in names else None,
    )


def _renewal(run: Path) -> int | None:
    """The last renewal of the lease. Opening the file makes a network disk ask for its times.
    Raises OSError."""
    try:
        fd = os.open(run / "lease", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENOENT, *_NO_FILE):
            return None
        raise
    try:
        return os.fstat(fd).st_mtime_ns
    finally:
        os.close(fd)


def _end(folder: AttemptFolder) -> tuple[bool, AttemptEnd | None]:
    """The record of the end; it is there also if the task spoilt it. Raises OSError if the disk
    fails."""
    end = folder.end()
    if end is None:
        try:
            fd = os.open(folder.run / "exit", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                os.read(fd, 1)
            finally:
                os.close(fd)
        except OSError as error:
            if error.errno not in _NO_FILE:
                raise
    return True, end


def submission(path: Path) -> Submission:
    """Return the request for the attempt's job. Raises OSError, msgspec.DecodeError."""
    match = _REQUEST.match(_read(path, START, _REQUEST_BYTES))
    if match is None or (path / START).lstat().st_size != match.end() + int(match[1]):
        raise msgspec.DecodeError("truncated start file")
    return msgspec.json.decode(match[2], type=Submission)


def output_end(path: Path, most: int = SHOWN_CHARACTERS) -> str:
    """Return the last words that the job printed, without those of Slurm around a plugin's; empty
    if there are none."""
    try:
        text = _tail(path, OUTPUT, _OUTPUT_BYTES).decode(errors="replace")
    except OSError:
        return ""
    plain = "".join(c if c.isprintable() else " " for c in _OF_SLURM.sub("", text))
    return " ".join(plain.split())[-most:]


def _read(path: Path, name: str, limit: int, offset: int = 0) -> bytes:
    """Read a regular file of the attempt's folder, which tasks of the same account can replace.
    Raises OSError."""
    fd = os.open(path, untrusted.FOLDER)
    try:
        return untrusted.read_regular(fd, name, offset, limit)
    finally:
        os.close(fd)


def _tail(path: Path, name: str, limit: int) -> bytes:
    """Read the last bytes of such a file. Raises OSError."""
    return _read(path, name, limit, max(0, (path / name).lstat().st_size - limit))


def remove(path: Path) -> None:
    """Remove what `write` created outside of the three places. Raises OSError."""
    untrusted.remove(path / DATASETS)
    untrusted.remove(path / VOLUMES)
    for name in (START, DRAFT, ENVIRONMENT):
        (path / name).unlink(missing_ok=True)
