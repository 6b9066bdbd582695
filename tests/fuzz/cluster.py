"""Fuzz targets: batch scripts, replies of Slurm, and what reaches the relay on a node."""

import asyncio
import json
import socket
import ssl
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from fetchml.adapters.jupyter.client import RECORD, read_port
from fetchml.adapters.node_relays.connector import HIGHEST_PORT, LOWEST_PORT
from fetchml.adapters.slurm import commands, nodes
from fetchml.adapters.slurm.job import ArrayTask, Submission
from fetchml.adapters.slurm.rest import R, RestTransport, read
from fetchml.adapters.slurm.tokens import Tokens
from fetchml.adapters.slurm.transport import Refused, Signal, SlurmAway, TryAgain
from fetchml.auth.pinned_certificate import SECRET_BYTES, certificate_of
from fetchml.cli.slurm import script
from fetchml.shim.node_relay import Relay, answer, context_of
from tests.fuzz.target import NUMBERS, STEERING, SURROGATES, Target

HANDSHAKE_SECONDS = 10
REFUSALS = (SlurmAway, Refused, TryAgain)


def batch_script(data: bytes) -> None:
    """Read a script as `fetchml sbatch` does, which refuses what is not UTF-8 first."""
    content = data.decode(errors="ignore")
    problems = script.Problems()
    found = []
    for where, words in script.directives(content):
        options, _ = script.split(words, where)
        found += options
    request = script.read(found, problems)
    if request.array is not None:
        assert 1 <= len(request.array.indexes) <= 10_000
        assert request.array.variables
    for number in ("cpu", "memory_gb", "gpu", "timeout_seconds", "warn_seconds"):
        assert 0 <= request.fields.get(number, 0) < 1 << 31
    assert script.command_of_file(content, "job.sh", [])
    assert script.command_of(content, "job.sh", [])


# Replies of Slurm

TOKENS = Tokens("u", Path("/"), None)


def squeue(data: bytes) -> None:
    """The lines of `squeue`, and those of `scontrol show job` about an exit."""
    printed = data.decode(errors="replace")
    for job in commands._jobs(printed, ""):
        assert msgspec.json.encode(job)
    assert (commands._exit_code(printed) or 0) >= 0
    commands._plain(printed)
    with suppress(Refused):
        assert commands._minutes(printed) >= 0


def scontrol(data: bytes) -> None:
    for node in nodes.of_scontrol(data.decode(errors="replace")):
        _check(node)


def _check(node: Any) -> None:
    assert 0 <= node.gpu_used <= node.gpu
    assert len(node.reason or "") <= 300


class _Replies(RestTransport):
    """Gets the same reply to each request."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__("http://slurmrestd", "u", TOKENS)
        self._status = status
        self._body = body

    async def _call(
        self, method: str, path: str, kind: type[R], body: object = None, user: str = ""
    ) -> tuple[int, R]:
        return self._status, read(self._status, self._body, kind)


def slurmrestd(data: bytes) -> None:
    """The reply to every request of the transport. A number at its end is its status."""
    body, _, status = data.rpartition(b"}")
    number = int(status) if status.isdigit() and len(status) == 3 else 200
    asyncio.run(_ask(number, body + b"}"))
    asyncio.run(_ask(404, data))


async def _ask(status: int, body: bytes) -> None:
    transport = _Replies(status, body)
    calls = (
        transport.open,
        lambda: transport.submit(Submission("n", "#!/bin/sh\n", "/f", indexes="0-1")),
        transport.states,
        lambda: transport.job(7),
        lambda: transport.job(ArrayTask(7, 2)),
        lambda: transport.named("fetchml"),
        lambda: transport.named("fetchml", "ada"),
        lambda: transport.job(ArrayTask(7, 2), "ada"),
        lambda: transport.time_limit(7),
        lambda: transport.change_time_limit(ArrayTask(7, 2), 5),
        lambda: transport.cancel(7),
        lambda: transport.signal(7, Signal.WARN),
        transport.queue,
    )
    for call in calls:
        with suppress(*REFUSALS):
            await call()
    with suppress(*REFUSALS):
        for node in await transport.nodes():
            _check(node)


# The relay on a node


def relay_record(data: bytes) -> None:
    """The port that any program of the task may have written."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, RECORD).write_bytes(data)
        assert LOWEST_PORT <= read_port(Path(folder)) <= HIGHEST_PORT


@cache
def _contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of the relay and of the server."""
    certificate = certificate_of(bytes(SECRET_BYTES))
    return context_of(certificate.both), certificate.client_context()


def relay_handshake(data: bytes) -> None:
    """The first bytes of anybody who connects to the relay: nothing passes, and nothing stays."""
    asyncio.run(_connect(data))


async def _connect(data: bytes) -> None:
    relay = Relay(_contexts()[0], answer)
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    accepted.setblocking(False)
    client.setblocking(False)
    with client:
        await relay._handshakes.acquire()
        await relay._connections.acquire()
        free = relay._connections._value
        carrying = loop.create_task(relay._carry(accepted))
        with suppress(ConnectionError):
            await loop.sock_sendall(client, data)
            client.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            await carrying
        assert relay._connections._value == free + 1
        assert not relay._handshakes.locked()


def _client_hello() -> bytes:
    sent = ssl.MemoryBIO()
    ours = _contexts()[1].wrap_bio(ssl.MemoryBIO(), sent)
    with suppress(ssl.SSLWantReadError):
        ours.do_handshake()
    return sent.read()


JOB = {
    "job_id": 7,
    "array_job_id": {"set": True, "number": 7},
    "array_task_id": {"set": True, "number": 2},
    "name": "fetchml-a",
    "job_state": ["RUNNING"],
    "state_reason": "None",
    "nodes": "g1",
    "exit_code": {"return_code": {"set": True, "number": 3}},
    "start_time": {"set": True, "number": 5},
    "time_limit": {"set": True, "number": 5},
}
REPLIES = [
    {"jobs": [JOB, {**JOB, "array_task_id": {}}], "pings": [{"pinged": "UP"}], "job_id": 7},
    {"jobs": [{"job_id": "7_2", "state": ["PENDING"]}], "pings": [{"pinged": "UP"}]},
    {"errors": [{"error_number": 2017, "error": "x"}], "status": [{"error": {"code": 2020}}]},
    {"pings": [{"pinged": "UP"}], "nodes": [{"name": "g1", "state": ["IDLE"], "gres": "gpu:a:2"}]},
]
SBATCH = [
    b"#!/bin/bash\n#SBATCH --job-name=a --cpus-per-task=2\n#SBATCH --mem=4G -t 1-02:30\nrun\n",
    b"#!/bin/sh\n#SBATCH --array=0-15:5%4\n#SBATCH --dependency=afterok:a:b,aftercorr:c\nrun\n",
    b"#!/bin/sh\n#SBATCH --gres=gpu:a100:2 --signal=B:USR1@30 --begin=now+1hour\nrun\n",
]
OPTIONS = [
    b"#SBATCH ", b"\n", b"=", b"--mem=", b"--mem-per-cpu=", b"--time=", b"--array=", b"--begin=",
    b"--gpus=", b"--gres=", b"--signal=", b"--dependency=", b"--export=", b"--nodes=1", b"-",
    b"--", b"'", b'"', b"\\", b"#", b"%", b"T", b"23:59pm", b"2027-02-30T10:00", b"teatime",
    b"0000-01-01", b"now+999999999weeks", b"#!", b"env ", b"\x0c",
]  # fmt: skip
LINES = [
    b"12|RUNNING|None|g1|2026-11-30T00:00:00|ada|fetchml-a|b",
    b"12_3|PENDING|Resources||N/A|ada|fetchml-a\n   ExitCode=3:0 x",
    b"2-00:30:00",
    b"squeue: error: Invalid job id specified",
]
NODES = [
    (
        b"NodeName=g1 CPUAlloc=3 CPUTot=8 NodeAddr=g1 Gres=gpu:a100:2(S:0-1),shard:8 "
        b"GresUsed=gpu:a100:1(IDX:1) RealMemory=8000 AllocMem=600 State=IDLE+DRAIN "
        b"Partitions=main,long Reason=bad fan [root@2026-11-29T01:09:19]"
    ),
]
JSON = [
    *SURROGATES, *NUMBERS, b"{", b"}", b"[", b"]", b'"', b":", b",", b"null", b"true", b"{}", b"[]",
    b'"7_2"', b'"set"', b'"jobs"', b'"errors"', b'"job_id"', b"500", b"404", b"[" * 200,
]  # fmt: skip

TARGETS: dict[str, Target] = {
    "batch_script": Target(
        batch_script,
        SBATCH,
        [b"\xff", *STEERING[:-1], *NUMBERS, *OPTIONS],
        (script.BadScript,),
    ),
    "squeue": Target(
        squeue,
        LINES,
        [*SURROGATES, *STEERING, *NUMBERS, b"|", b"_", b"\n", b"ExitCode=", b"0001-01-01", b":"],
    ),
    "scontrol": Target(
        scontrol,
        NODES,
        [
            *SURROGATES,
            *STEERING,
            *NUMBERS,
            b"gpu:",
            b"(IDX:",
            b"-",
            b")",
            b" Gres=",
            b"\nNodeName=",
        ],
    ),
    "slurmrestd": Target(
        slurmrestd,
        [json.dumps(reply).encode() for reply in REPLIES],
        JSON,
        share=2,
        is_json=True,
    ),
    "relay_record": Target(
        relay_record,
        [b"port=8080\n"],
        [*SURROGATES, *NUMBERS, b"port=", b"\n", b"0", b"65536"],
        (OSError,),
        share=0.3,
    ),
    "relay_handshake": Target(
        relay_handshake,
        [_client_hello(), b"GET / HTTP/1.1\r\n\r\n"],
        [b"\x16\x03\x01", b"\x15\x03\x03\0\x02\x02\x28", b"\x17\x03\x03\xff\xff", b"\0\0", b"\xff"],
    ),
}
