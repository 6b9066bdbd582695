"""Jobs on nodes that check what tasks need there. Only on request: they take the cluster's time.

A job writes its record into a folder of its own below the shared folder. A random word in that
folder shows whether the node has the same file system there. Another job runs as the first of the
users' accounts.
"""

import asyncio
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from shlex import quote
from types import MappingProxyType

from fetchml.adapters.node_relays.connector import connector_to, reason_of
from fetchml.adapters.slurm import access_lists, start_files
from fetchml.adapters.slurm.accounts import Account
from fetchml.adapters.slurm.job import Job, Submission
from fetchml.adapters.slurm.transport import Refused, SlurmAway, SlurmTransport
from fetchml.config.settings import Settings, SlurmSettings
from fetchml.files.own_file import read_own
from fetchml.ports.task_environment import DEFAULT_PATH
from fetchml.server.cannot_start import CannotStart
from fetchml.server.cluster_wiring import tasks_folder
from fetchml.server.slurm_accounts import accounts_of, parameters_of
from fetchml.server.slurm_wiring import transport_of
from fetchml.views import Finding

PROBE_SECONDS = 120
"""Time for the job to start and to end."""
MOST_SKEW_SECONDS = 60
_POLL_SECONDS = 0.5
_SETTLE_SECONDS = 5.0
"""Time after a job's end in which its record may appear through a network disk."""
_RECORD, _RECORD_BYTES = "record", 4096

_SCRIPT = """\
#!/bin/sh
export PATH={path}
cd {folder} || exit 3
{{
    echo "word=$(cat word)"
    echo "node=$SLURMD_NODENAME"
    echo "clock=$(date +%s)"
    echo "user=$(id -u)"
    echo "machine=$(uname -m)"
    echo "python=$(python3 -c 'import platform; print(platform.python_version())' 2>/dev/null)"
    echo "runtime=$({runtime} 2>/dev/null | head -n 1)"
    {shims}/"$(uname -m)" >/dev/null 2>&1
    echo "shim=$?"
    python3 -IS listen.py {shims} {ports} 2>/dev/null &
    while kill -0 $! 2>/dev/null && [ ! -e port ]; do sleep 0.1; done
    echo "port=$(cat port 2>/dev/null)"
}} >draft
mv draft {record}
wait
"""
_VERSIONS = {
    "none": "true",
    # Its options are those of srun.
    "pyxis": "srun --help | grep -q -- --container-image && echo Pyxis, enroot $(enroot version)",
}
"""Commands that print a runtime's version."""
_LISTEN = """\
import os, sys
sys.path.insert(0, sys.argv[1])
import node_relay
listener = node_relay.listen(sys.argv[2])
with open("port.new", "w") as record:
    record.write(str(listener.getsockname()[1]))
os.rename("port.new", "port")
listener.settimeout(60)
client, _ = listener.accept()
client.sendall(open("word", "rb").read())
"""
"""Listens as the relay does (shim/node_relay.py), and sends the word to who connects first."""
_REACH_SECONDS = 10.0


def probe(settings: Settings) -> Iterator[Finding]:
    """Run a job as the server's account, and one as the first of the users' accounts."""
    yield from _probe_server(settings)
    yield from probe_users(settings)


def _probe_server(settings: Settings) -> Iterator[Finding]:
    name = "probe"
    if os.geteuid() == 0 and not settings.slurm.allow_root:
        fix = "Start it as the server's account."
        yield Finding(name, "not run: it would run as root on a node", fix)
        return
    try:
        shared, transport = tasks_folder(settings), transport_of(settings.slurm)
        with _folder_below(shared) as folder:
            word = secrets.token_hex(16)
            (folder / "word").write_text(word)
            (folder / "listen.py").write_text(_LISTEN)
            shims = start_files.install_shims(shared)
            yield from asyncio.run(_run(settings, transport, folder, shims, word))
    except CannotStart as error:
        yield Finding(name, "not set up", str(error))
    except Refused as error:
        yield Finding(name, f"Slurm refuses the job: {error}", "Fix the [slurm] settings.")
    except SlurmAway as error:
        yield Finding(name, str(error), "Check slurmctld (scontrol ping) and slurmrestd.")
    except OSError as error:
        yield Finding(name, f"the shared folder fails: {error.strerror}", "Repair its file system.")


def probe_users(settings: Settings) -> Iterator[Finding]:
    """Run a job as the first of the users' accounts; nothing if there are none."""
    name, slurm = "probe users", settings.slurm
    try:
        accounts = accounts_of(slurm)
        if not accounts.others:
            return
        others = [each for each in accounts.by_user.items() if each[1].name in accounts.others]
        user, account = min(others, key=lambda each: each[1].name)
        shared, transport = tasks_folder(settings), transport_of(slurm)
    except CannotStart as error:
        yield Finding(name, "not set up", str(error))
        return
    try:
        access_lists.let_all_pass(shared)
        with _folder_below(shared) as folder:
            os.chown(folder, *account.owner)
            script = f"#!/bin/sh\ncd {quote(str(folder))} && id -u >draft && mv draft {_RECORD}\n"
            job = _submission(slurm, folder, script, parameters_of(slurm)[user], account.name)
            yield _ran_as(account, asyncio.run(_output(transport, job)))
    except OSError as error:
        fix = "Start it with the rights of the server (docs/cluster-accounts.md)."
        yield Finding(name, f"cannot use {shared} for {account.name}: {error.strerror}", fix)


@contextmanager
def _folder_below(shared: Path) -> Iterator[Path]:
    folder = shared / f"probe-{secrets.token_hex(8)}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _submission(
    slurm: SlurmSettings,
    folder: Path,
    script: str,
    parameters: Mapping[str, str] = MappingProxyType({}),
    user: str = "",
) -> Submission:
    """`parameters`: of the user; they go before those of all."""
    names = ("partition", "account", "qos", "constraint")
    return Submission(
        name=f"fetchml-{folder.name}",
        script=script,
        folder=str(folder),
        minutes=5,
        user=user,
        **{name: parameters.get(name, getattr(slurm, name)) for name in names},
    )


@asynccontextmanager
async def _submitted(transport: SlurmTransport, job: Submission) -> AsyncIterator[int]:
    """Submit a job; cancel it at the end. Raises Refused, SlurmAway."""
    try:
        await transport.open()
        number = await transport.submit(job)
        try:
            yield number
        finally:
            with suppress(SlurmAway):
                await transport.cancel(number, job.user)
    finally:
        await transport.close()


async def _record(
    transport: SlurmTransport, number: int, submission: Submission
) -> tuple[str, Job | None]:
    """Wait for a job's record; return it, empty if there is none, and the job as last reported.
    Raises SlurmAway, OSError."""
    job, over_since = None, float("inf")
    deadline = time.monotonic() + PROBE_SECONDS
    folder = Path(submission.folder)
    while time.monotonic() < min(deadline, over_since + _SETTLE_SECONDS):
        if _has_record(folder):
            return read_own(folder / _RECORD, _RECORD_BYTES).decode(errors="replace"), job
        job = await transport.job(number, submission.user)
        if job is None or job.is_over:
            over_since = min(over_since, time.monotonic())
        await asyncio.sleep(_POLL_SECONDS)
    return "", job


def _has_record(folder: Path) -> bool:
    """A listing is read again from a network disk, where the absence of a file is remembered."""
    return any(path.name == _RECORD for path in folder.iterdir())


async def _run(
    settings: Settings, transport: SlurmTransport, folder: Path, shims: Path, word: str
) -> list[Finding]:
    """Run the job of the server's account. Raises Refused, SlurmAway, OSError."""
    slurm = settings.slurm
    script = _SCRIPT.format(
        path=DEFAULT_PATH,
        folder=quote(str(folder)),
        shims=quote(str(shims)),
        ports=slurm.relay_ports,
        runtime=_VERSIONS.get(slurm.container, f"{slurm.container} --version"),
        record=_RECORD,
    )
    submission = _submission(slurm, folder, script)
    async with _submitted(transport, submission) as number:
        text, job = await _record(transport, number, submission)
        seen_at = time.time()
        lines = (line.partition("=") for line in text.splitlines())
        record = {key: value for key, equals, value in lines if equals}
        if not record:
            return [_without_record(job, start_files.output_end(folder))]
        findings = [*_findings(record, word, seen_at)]
        if record.get("word") == word:
            why = await _reach(transport, record, word)
            findings.append(_reached(record, why, slurm.relay_ports))
            if slurm.container != "none":
                findings.append(_runtime(slurm.container, record))
        return findings


async def _output(transport: SlurmTransport, submission: Submission) -> str:
    """Run the job of a user's account; return its record, or why there is none. Raises OSError."""
    try:
        async with _submitted(transport, submission) as number:
            text, job = await _record(transport, number, submission)
            if not text and job is not None and job.is_pending:
                return f"its job did not run within {PROBE_SECONDS} s"
            return text.strip() or "its job wrote nothing"
    except (Refused, SlurmAway) as error:
        return str(error)


def _ran_as(account: Account, output: str) -> Finding:
    name = "probe users"
    if output == str(account.uid):
        return Finding(name, f"a job of {account.name} reached its folder as uid {output}")
    if output.isdecimal():
        fix = "Give the account the same uid on this host and on all nodes."
        return Finding(name, f"{account.name} is uid {output} on a node, {account.uid} here", fix)
    fix = "Check the permissions of its folders on the nodes, and [slurm.users]."
    return Finding(name, f"{account.name}: {output}", fix)


async def _reach(transport: SlurmTransport, record: Mapping[str, str], word: str) -> str:
    """Connect to the job's port as the server connects to relays; return why that fails. Raises
    SlurmAway."""
    port = record.get("port", "")
    named = [each for each in await transport.nodes() if each.name == record.get("node")]
    if not port.isdecimal() or not named or not named[0].address:
        return "the node's address or port is missing"
    where = f"{named[0].address} port {int(port[:5])}"
    try:
        async with asyncio.timeout(_REACH_SECONDS):
            connector = await connector_to(named[0].address, int(port[:5]), None)
            connection = await connector.connect()
            with connection:
                reply = await asyncio.get_running_loop().sock_recv(connection, len(word))
    except OSError as error:  # TimeoutError is one.
        return f"{where}: {reason_of(error)}"
    return "" if reply == word.encode() else f"{where}: another program answers"


def _reached(record: Mapping[str, str], why: str, ports: str) -> Finding:
    """Return the finding about connections from the server to the node."""
    node, name = record.get("node") or "a node", "probe port"
    if not record.get("python"):
        return Finding(name, f"not tried: no python3 on {node}")
    if not record.get("port"):
        fix = "Give [slurm] relay_ports more ports, or install python3 3.8 or later with OpenSSL."
        return Finding(name, f"{node} cannot listen on a port of {ports}", fix)
    if not why:
        return Finding(name, f"this host reaches port {record['port']} of {node}")
    advice = (
        "Jupyter services, fetchml exec, the shell and ports of tasks need it: let this host "
        "connect to the ports of [slurm] relay_ports on the nodes."
    )
    return Finding(name, f"this host cannot reach {node} at {why}", advice=advice)


def _without_record(job: Job | None, output: str) -> Finding:
    more = f": {output}" if output else ""
    if job is not None and job.is_pending:
        return Finding(
            "probe",
            f"the job, cancelled now, did not start within {PROBE_SECONDS} s ({job.reason})",
            advice="Run the probe again when a node is free.",
        )
    state = "is unknown to Slurm" if job is None else f"ended as {job.ended_as} on {job.nodes}"
    fix = "Mount the shared folder on all nodes under the same path, writable for this account."
    return Finding(
        "probe", f"the job {state}, and its record is not in the shared folder{more}", fix
    )


def _runtime(name: str, record: Mapping[str, str]) -> Finding:
    version = record.get("runtime", "")
    fix = f"Install {name} on all nodes, or change [slurm] container."
    if name == "pyxis":
        fix = f"{fix} srun has its options there if plugstack.conf names it."
    if version:
        return Finding("probe container", version)
    return Finding("probe container", f"{record.get('node')} has no {name}", fix)


def _findings(record: Mapping[str, str], word: str, seen_at: float) -> Iterator[Finding]:
    node = record.get("node") or "a node"
    if record.get("word") != word:
        fix = "Mount the same file system under this path on all nodes."
        yield Finding(
            "probe", f"{node} has another folder under the path of the shared folder", fix
        )
        return
    yield Finding(
        "probe", f"a job ran on {node} ({record.get('machine')}), and saw the shared folder"
    )
    yield Finding(
        "probe python",
        f"python3 {record['python']}" if record.get("python") else f"no python3 on {node}",
        advice="" if record.get("python") else "Tasks that run python3 need it on all nodes.",
    )
    clock = record.get("clock", "")
    if clock.isdecimal():
        skew = abs(seen_at - int(clock[:12]))
        fix = "Synchronise the clocks (NTP)." if skew > MOST_SKEW_SECONDS else ""
        yield Finding("probe clock", f"{node} differs from this host by {skew:.0f} s or less", fix)
    if record.get("user") != str(os.geteuid()):
        fix = "Give the account the same uid on all nodes."
        yield Finding("probe user", f"uid {record.get('user')} on {node}, {os.geteuid()} here", fix)
    if record.get("shim") in ("126", "127"):
        fix = "Mount the shared folder without noexec on the nodes."
        yield Finding("probe shim", f"{node} cannot execute the shim in the shared folder", fix)
    else:
        yield Finding("probe shim", f"{node} executes the shim")
