"""Every parser of foreign bytes, each with what its input looks like and what it may raise.

A target is called with bytes. It returns, or raises one of its `refusals`; anything else is a
finding. What it gives must be storable and bounded where it is kept.
"""

import gzip
import io
import re
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import msgspec
from aiohttp import HttpVersion11
from google.protobuf.message import DecodeError
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from fetchml.adapters.jupyter.client import _Listed, _milliseconds
from fetchml.api import task_messages
from fetchml.api.grpc import calls
from fetchml.api.grpc.listing import listing
from fetchml.api.http import body
from fetchml.api.http.query import Query
from fetchml.api.jupyter import headers
from fetchml.api.jupyter.socket import _handshake_key
from fetchml.api.trace import new_trace
from fetchml.api.ws import route
from fetchml.api.ws.frames import Frames
from fetchml.api.ws.session import _FromClient
from fetchml.config.proxies import Network, Proxies
from fetchml.core.model import DatasetSpec, Resources, Status
from fetchml.core.requests import (
    dataset,
    experiment,
    jupyter,
    project_file,
    snapshot,
    submission,
    text,
)
from fetchml.core.requests.task_limits import TaskLimits
from fetchml.errors import RequestError
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.tar_reader import members
from fetchml.snapshots.unpack import RefusedArchive, UnpackLimits, UnreadableArchive, unpack
from fetchml.v1 import task_pb2

DEFAULTS = submission.Defaults("image", ("run",), TaskLimits(), 0)
BOX = Resources(8, 64, 8)
LIMITS = UnpackLimits(1 << 20, 100)
LINK: Any = Mock(service_id="id", token="token", base_path="/jupyter/id/")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Target:
    parse: Callable[[bytes], object]
    seeds: Sequence[bytes]
    tokens: Sequence[bytes]
    refusals: tuple[type[Exception], ...] = ()
    share: float = 1
    """Of the number of examples: less where one takes long."""


def as_header(data: bytes) -> str:
    """As aiohttp gives it."""
    return data.decode("utf-8", "surrogateescape")


# Heads


def forwarded_for(data: bytes) -> None:
    proxies = Proxies([Network.parse("127.0.0.0/8"), Network.parse("::/0")])
    client = proxies.client_of("127.0.0.1", as_header(data))
    assert text.line_fault(client) is None
    assert len(client) <= text.MAX_ADDRESS


def trace(data: bytes) -> None:
    first, _, second = as_header(data).partition("\n")
    assert _UUID.fullmatch(new_trace(first, second))


def query(data: bytes) -> None:
    url = URL.build(path="/", query_string=as_header(data), encoded=True)
    request: Any = Mock(query=url.query)
    found = Query(request, "limit", "since", "follow", "status", "view", "task_id")
    for read in (
        lambda: found.number("limit"),
        lambda: found.time("since"),
        lambda: found.flag("follow"),
        lambda: found.status("status", tuple(Status)),
        found.full_view,
        lambda: found.text("task_id"),
    ):
        with suppress(RequestError):
            read()


def content_type(data: bytes) -> None:
    body._check_content_type(as_header(data))


def web_socket_head(data: bytes) -> None:
    values = as_header(data).split("\n")
    names = ("Sec-WebSocket-Protocol", "X-API-Key", "Sec-WebSocket-Key", "Connection")
    headers = CIMultiDict(zip(names, values, strict=False))
    headers["Sec-WebSocket-Version"] = "13"
    request: Any = Mock(
        method="GET", version=HttpVersion11, headers=CIMultiDictProxy(CIMultiDict(headers))
    )
    route._key(request, route._protocols(request))
    _handshake_key(request)


def jupyter_target(data: bytes) -> None:
    target = headers.parse_target(as_header(data))
    if target is not None:
        assert target.whole == as_header(data)
        assert target.whole.isascii()


def cookies(data: bytes) -> None:
    """Headers of a Jupyter's reply, as `name: value` lines."""
    pairs = [line.partition(":")[::2] for line in as_header(data).split("\n")]
    given = CIMultiDictProxy(CIMultiDict(pairs))
    kept = headers.for_browser(given, "/jupyter/id/")
    for cookie in kept.getall("Set-Cookie", ()):
        attributes = [part.partition("=")[0].strip().lower() for part in cookie.split(";")[1:]]
        assert "domain" not in attributes
    headers.for_jupyter(given, LINK)
    headers.protocols(given)


def grpc_peer(data: bytes) -> None:
    assert isinstance(calls.address_of(as_header(data)), str)


# Bodies and messages


def json_body(data: bytes) -> None:
    body._has_too_many_values(data)
    request = msgspec.json.decode(data)
    if type(request) is not dict:
        return
    experiment.violations(request)
    jupyter.violations(request, BOX, TaskLimits())
    spec = submission.accept(request, DEFAULTS, BOX)
    assert text.is_storable(spec)
    submission.argv(spec)


def create_message(data: bytes) -> None:
    request = task_pb2.CreateTaskRequest.FromString(data)
    spec = submission.accept(task_messages.create_fields(request), DEFAULTS, BOX)
    assert text.is_storable(spec)


def list_message(data: bytes) -> None:
    found = listing(task_pb2.ListTasksRequest.FromString(data))
    assert 0 <= found.query.limit <= 1001


def ws_message(data: bytes) -> None:
    msgspec.json.decode(data, type=_FromClient)


def ws_stream(data: bytes) -> None:
    """What passes does not depend on the pieces that it comes in."""
    for masked in (True, False):
        whole, parts = Frames(masked=masked), Frames(masked=masked)
        passed = whole.feed(data)
        assert 0 <= passed <= len(data)
        in_parts = 0
        for at in range(len(data)):
            step = parts.feed(data[at : at + 1])
            in_parts += step
            if not step:
                break
        assert (whole.closed, whole.fault is None) == (parts.closed, parts.fault is None)


def dataset_source(data: bytes) -> None:
    found = dataset.read(DatasetSpec(source=as_header(data), name="d"))
    assert text.is_storable(found.location)


def toml(data: bytes) -> None:
    file, violations = project_file.read(data.decode(), submission._PROJECT_RULES)
    assert len(violations) <= 100
    for violation in violations:
        assert len(violation.rule) <= 2000
    msgspec.json.encode(file.fields)


# Archives


def tar(data: bytes) -> None:
    source = io.BytesIO(data)
    reader: Any = Mock(read=source.read, tell=source.tell, skip=lambda size: source.seek(size, 1))
    for member in members(reader):
        snapshot.path_fault(member.path)
        snapshot.link_fault(member.path, member.link)


def archive(data: bytes) -> None:
    """With a whole gzip around it, or as it is."""
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder, "archive")
        packed.write_bytes(data if data[:2] == b"\x1f\x8b" else gzip.compress(data, 1))
        entries = unpack(packed, Path(folder, "tree"), LIMITS, lambda: None)
        listed = snapshot.manifest(entries)
        assert snapshot.manifest(snapshot.entries_of(listed)) == listed
        inside = [path for path in Path(folder).rglob("*") if not path.is_symlink()]
        assert all(path.resolve().is_relative_to(folder) for path in inside)


def snapshot_manifest(data: bytes) -> None:
    list(snapshot.entries_of(b"fetchml snapshot 1\n" + data))


# What tasks and Jupyters write


def run_folder(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        attempt = AttemptFolder(Path(folder, "a"))
        attempt.run.mkdir(parents=True)
        for name in ("claim", "started", "exit", "log.00000000000000000007"):
            (attempt.run / name).write_bytes(data)
        claim, started, end = attempt.claim(), attempt.started(), attempt.end()
        assert text.is_storable(claim)
        if started is not None:
            assert 0 <= started.at < 1 << 48
        if end is not None:
            assert text.is_storable(end)
            assert end.code is None or 0 <= end.code <= 255
            assert end.signal is None or 1 <= end.signal <= 64
            assert 0 <= (end.started_at or 0) <= end.at < 1 << 48
        attempt.read_log(0, 100)


def jupyter_activity(data: bytes) -> None:
    for each in msgspec.json.decode(data, type=list[_Listed]):
        if each.last_activity:
            _milliseconds(each.last_activity)


def last_words(data: bytes) -> None:
    words = jupyter.last_words(data.decode(errors="replace"), "token")
    assert text.line_fault(words) is None
    assert len(words) <= jupyter.MAX_LAST_WORDS


SURROGATES = [b"\xff", b"\xed\xa0\x80", b"\\ud800", b"\\udcff"]
STEERING = [b"\0", b"\r\n", b"\x1b[2J", "\u202e".encode(), "\u2028".encode(), b"%00", b"%ff"]
JSON_TOKENS = [
    *SURROGATES, *STEERING, b"{", b"}", b"[", b"]", b'"', b":", b",", b"null", b"true", b"1e999",
    b"-0", b"9" * 400, b"0.1", b'"cpu"', b'"args"', b'"metadata"', b'"dataset_specs"', b'"env"',
    b'"mount_path"', b'"source"', b'"name"', b"\\", b"'", b"[" * 200,
]  # fmt: skip


def _tar_of(name: str, data: bytes = b"data", **attributes: Any) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=attributes.pop("format", None)) as made:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        for attribute, value in attributes.items():
            setattr(member, attribute, value)
        made.addfile(member, io.BytesIO(data))
    return packed.getvalue()


TARS = [
    _tar_of("a/b"),
    _tar_of("x" * 150, format=1),
    _tar_of("x" * 150, pax_headers={"path": "y", "size": "4"}, format=2),
    _tar_of("l", b"", type=b"2", linkname="../x"),
    _tar_of("h", b"", type=b"1", linkname="l"),
    _tar_of("fetchml.toml", b'image = "a"\ncpu = 1\n'),
]
TAR_TOKENS = [
    *SURROGATES, b"../", b"/", b"\0", b"x", b"L", b"K", b"g", b"5", b"2", b"777777777777",
    b"\x80\xff\xff\xff\xff\xff\xff\xff", b"20 path=../../etc\n", b"18 size=-1\n", b"9" * 30,
    b"GNU.sparse.map=0,1", b"\0" * 512, b"ustar\0" + b"00",
]  # fmt: skip
TASK = task_pb2.CreateTaskRequest(
    job_name="a", command=["a"], metadata={"a": "b"}, env={"A": "b"}, cpu=1, args="a 'b'"
).SerializeToString()
WIRE_TOKENS = [*SURROGATES, *STEERING, b"\x0a", b"\xff" * 9 + b"\x01", b"\x80", b"\x7f", TASK]
REQUEST_ERRORS = (RequestError,)

TARGETS: dict[str, Target] = {
    "forwarded_for": Target(
        forwarded_for,
        [b"10.0.0.1, 127.0.0.1", b"fe80::1%eth0", b"[::1]:80", b"::ffff:1.2.3.4"],
        [*SURROGATES, *STEERING, b"%", b",", b":", b"[", b"]", b"127.0.0.1", b"::1", b"9" * 30],
    ),
    "trace": Target(
        trace,
        [b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n", b"\n" + b"0" * 36],
        [*SURROGATES, *STEERING, b"-", b"0" * 32, b"ff", b"\n"],
    ),
    "query": Target(
        query,
        [b"limit=1&since=2026-01-01T00:00:00Z", b"follow=1&status=queued", b"view=full&task_id=x"],
        [*SURROGATES, *STEERING, b"&", b"=", b";", b"limit=", b"since=", b"9" * 30, b"+99:99"],
        REQUEST_ERRORS,
    ),
    "content_type": Target(
        content_type,
        [b"application/json", b'application/json; charset="utf-8"'],
        [*SURROGATES, *STEERING, b";", b"charset="],
        REQUEST_ERRORS,
    ),
    "web_socket_head": Target(
        web_socket_head,
        [b"fetchml.v1, fetchml.key.x\nkey\n" + b"MDAwMDAwMDAwMDAwMDAwMA==\nUpgrade"],
        [*SURROGATES, b"\n", b",", b"fetchml.key.", b"="],
        REQUEST_ERRORS,
    ),
    "jupyter_target": Target(
        jupyter_target,
        [b"/jupyter/a/", b"/jupyter/a/b?c=d", b"/jupyter/a/..%2f"],
        [*SURROGATES, *STEERING, b"/", b"..", b"%2e%2e", b"\\", b"?", b"#", b"%5c"],
    ),
    "cookies": Target(
        cookies,
        [b"Set-Cookie: a=b; path=/jupyter/id/\nConnection: x", b"Cookie: a=b; _xsrf=c"],
        [*SURROGATES, b"\n", b";", b"=", b"path", b"Path=/", b"domain", b"\t", b"Connection: "],
        (ValueError,),
    ),
    "grpc_peer": Target(
        grpc_peer,
        [b"ipv4:127.0.0.1:5", b"ipv6:%5B::1%5D:5", b"unix:/x"],
        [*SURROGATES, *STEERING, b":", b"%5B", b"]"],
    ),
    "json_body": Target(
        json_body,
        [
            b'{"job_name": "a", "args": "a \'b\'", "metadata": {"a": "b"}, "env": {"A": "b"}}',
            b'{"job_name": "a", "dataset_specs": [{"name": "d", "source": "http://h/x"}]}',
            b'{"name": "a", "workspace": "a/b", "image": "i", "description": "x"}',
        ],
        JSON_TOKENS,
        (submission.InvalidSubmission, ValueError, RecursionError),
    ),
    "create_message": Target(
        create_message, [TASK], WIRE_TOKENS, (submission.InvalidSubmission, DecodeError)
    ),
    "list_message": Target(
        list_message,
        [
            task_pb2.ListTasksRequest(page_size=5, page_token="A" * 38).SerializeToString(),
            task_pb2.ListTasksRequest(
                limit=5, states=[task_pb2.Task.queued], status="queued"
            ).SerializeToString(),
        ],
        [*WIRE_TOKENS, b"-_", b"="],
        (RequestError, DecodeError),
    ),
    "ws_message": Target(
        ws_message, [b'{"type": "ping"}'], JSON_TOKENS, (ValueError, RecursionError)
    ),
    "ws_stream": Target(
        ws_stream,
        [b"\x81\x83\0\0\0\0abc", b"\x88\x02\x03\xe8", b"\x82\x7e\x00\x80" + b"x" * 128],
        [b"\x81", b"\x80", b"\x7f" + b"\xff" * 8, b"\x88\x80\0\0\0\0", b"\x09\x00", b"\xf1"],
    ),
    "dataset_source": Target(
        dataset_source,
        [b"http://host/a", b"file:///a/b", b"s3://b/k", b"http://[::1]:80/x#y", b"a/b"],
        [*SURROGATES, *STEERING, b"://", b"@", b"[", b"]", b":", b"#", b"%2f", b"..", b"9" * 9],
        (ValueError,),
    ),
    "toml": Target(
        toml,
        [b'image = "a"\ncommand = ["a"]\ncpu = 1\n[env]\nA = "b"\n', b"gpus = 1\n"],
        [*SURROGATES, *STEERING, b"[", b"]", b"=", b'"""', b"'", b".", b"a.", b"9" * 400, b"inf"],
        (UnicodeDecodeError,),
    ),
    "tar": Target(tar, TARS, TAR_TOKENS, (ValueError, tarfile.TarError)),
    "archive": Target(
        archive,
        [*TARS, gzip.compress(TARS[0], mtime=0)],
        TAR_TOKENS,
        (UnreadableArchive, RefusedArchive),
        share=0.3,
    ),
    "snapshot_manifest": Target(
        snapshot_manifest,
        [b"a\0file\0" + b"3\0" + b"0" * 64 + b"\0"],
        [*SURROGATES, b"\0", b"link", b"9" * 9],
        (ValueError,),
    ),
    "run_folder": Target(
        run_folder,
        [
            b"code=0\nat_ms=1700000000001\nstarted_ms=1700000000000\ntimed_out=0\nerror=x\n",
            b"signal=9\nat_ms=5\nstopped=1\npid=7\nstarttime=99\nboot_id=abc\nrevoked=0\n",
        ],
        [*SURROGATES, *STEERING, b"=", b"\n", b"-1", b"9" * 20, "\u0663".encode(), b"1_0"],
        share=0.5,
    ),
    "jupyter_activity": Target(
        jupyter_activity,
        [b'[{"last_activity": "2026-01-01T00:00:00Z", "execution_state": "busy"}]'],
        [*JSON_TOKENS, b"0001-01-01T00:00:00", b"9999-12-31T23:59:59.999999-23:59"],
        (ValueError, RecursionError),
    ),
    "last_words": Target(
        last_words, [b"a\nerror: token\n"], [*SURROGATES, *STEERING, b"token", b"\x1b[0;31m"]
    ),
}
