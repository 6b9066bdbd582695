"""A job on a node that checks what tasks need there. Only on request: it takes the cluster's time.

The job writes its findings into a folder of its own below the shared folder; the same folder holds
a word that only this server has, so that another folder under the same path is noticed.
"""

import asyncio
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from shlex import quote

from fetchml.adapters.node_relays.connector import connector_to, reason_of
from fetchml.adapters.slurm import start_files
from fetchml.adapters.slurm.job import Job, Submission
from fetchml.adapters.slurm.transports.transport import Refused, SlurmAway, SlurmTransport
from fetchml.config.settings import Settings
from fetchml.ports.task_environment import DEFAULT_PATH
from fetchml.server.cannot_start import CannotStart
from fetchml.server.cluster_wiring import tasks_folder
from fetchml.server.slurm_wiring import transport_of
from fetchml.views import Finding

PROBE_SECONDS = 120
"""Time for the job to start and to end."""
MOST_SKEW_SECONDS = 60
_POLL_SECONDS = 0.5
_RECORD_BYTES = 4096

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
mv draft found
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
    """Submit the job, wait for it, and yield its findings."""
    name = "probe"
    if os.geteuid() == 0 and not settings.slurm.allow_root:
        fix = "Start it as the server's account."
        yield Finding(name, "not run: it would run as root on a node", fix)
        return
    try:
        shared, transport = tasks_folder(settings), transport_of(settings.slurm)
        folder = shared / f"probe-{secrets.token_hex(8)}"
        word = secrets.token_hex(16)
        folder.mkdir(mode=0o700)
        try:
            (folder / "word").write_text(word)
            (folder / "listen.py").write_text(_LISTEN)
            shims = start_files.install_shims(shared)
            yield from _run(settings, transport, folder, shims, word)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except CannotStart as error:
        yield Finding(name, "not set up", str(error))
    except OSError as error:
        yield Finding(name, f"the shared folder fails: {error.strerror}", "Repair its file system.")


def _run(
    settings: Settings, transport: SlurmTransport, folder: Path, shims: Path, word: str
) -> Iterator[Finding]:
    slurm = settings.slurm
    job = Submission(
        name=f"fetchml-{folder.name}",
        script=_SCRIPT.format(
            path=DEFAULT_PATH,
            folder=quote(str(folder)),
            shims=quote(str(shims)),
            ports=slurm.relay_ports,
            runtime=_VERSIONS.get(slurm.container, f"{slurm.container} --version"),
        ),
        folder=str(folder),
        minutes=5,
        partition=slurm.partition,
        account=slurm.account,
        qos=slurm.qos,
        constraint=slurm.constraint,
    )
    try:
        last, seen_at, reached = asyncio.run(_submit(transport, job, folder / "found", word))
    except Refused as error:
        yield Finding("probe", f"Slurm refuses the job: {error}", "Correct the [slurm] settings.")
        return
    except SlurmAway as error:
        yield Finding("probe", str(error), "Check slurmctld (scontrol ping) and slurmrestd.")
        return
    record = _record(folder / "found")
    if not record:
        yield _without_record(last, start_files.output_end(folder))
        return
    yield from _findings(record, word, seen_at)
    if record.get("word") == word:
        yield _reached(record, reached, slurm.relay_ports)
    if record.get("word") == word and slurm.container != "none":
        yield _runtime(slurm.container, record)


async def _submit(
    transport: SlurmTransport, submission: Submission, record: Path, word: str
) -> tuple[Job | None, float, str]:
    """Submit the job; return it as last seen, when its record was seen, and why the job's port
    can't be reached, empty if it can. Raises Refused, SlurmAway."""
    try:
        await transport.open()
        number = await transport.submit(submission)
        try:
            job, over_since = None, float("inf")
            deadline = time.monotonic() + PROBE_SECONDS
            while time.monotonic() < deadline:
                # A listing is read again from a network disk.
                if any(path.name == record.name for path in record.parent.iterdir()):
                    seen_at = time.time()
                    return job, seen_at, await _reach(transport, _record(record), word)
                job = await transport.job(number)
                if job is None or job.is_over:
                    over_since = min(over_since, time.monotonic())
                    if time.monotonic() - over_since > 5:  # A network disk may lag.
                        break
                await asyncio.sleep(_POLL_SECONDS)
            return job, time.time(), ""
        finally:
            with suppress(SlurmAway):
                await transport.cancel(number)
    finally:
        await transport.close()


async def _reach(transport: SlurmTransport, record: Mapping[str, str], word: str) -> str:
    """Connect to the job's port as the server connects to relays; return why that fails. Raises
    SlurmAway."""
    port = record.get("port", "")
    named = [each for each in await transport.nodes() if each.name == record.get("node")]
    if not port.isdecimal() or not named or not named[0].address:
        return "its address or port is unknown"
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
    """Return the finding about the connection from the server to the node."""
    node, name = record.get("node") or "a node", "probe port"
    if not record.get("python"):
        return Finding(name, f"not tried: no python3 on {node}")
    if not record.get("port"):
        fix = "Give [slurm] relay_ports more ports, or install python3 3.8 or later with OpenSSL."
        return Finding(name, f"{node} can't listen on a port of {ports}", fix)
    if not why:
        return Finding(name, f"this host reaches port {record['port']} of {node}")
    advice = (
        "Jupyter services, fetchml exec, the shell and ports of tasks need it: let this host "
        "connect to the ports of [slurm] relay_ports on the nodes."
    )
    return Finding(name, f"this host can't reach {node} at {why}", advice=advice)


def _record(path: Path) -> Mapping[str, str]:
    try:
        with path.open(errors="replace") as file:
            lines = file.read(_RECORD_BYTES).splitlines()
    except OSError:
        return {}
    return {key: value for key, equals, value in (line.partition("=") for line in lines) if equals}


def _without_record(job: Job | None, output: str) -> Finding:
    more = f": {output}" if output else ""
    if job is not None and job.is_pending:
        return Finding(
            "probe",
            f"the job did not start in {PROBE_SECONDS} s ({job.reason}), and was cancelled",
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
        yield Finding("probe shim", f"{node} can't execute the shim in the shared folder", fix)
    else:
        yield Finding("probe shim", f"{node} executes the shim")
