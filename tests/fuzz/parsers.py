"""Calls of every parser of untrusted bytes, with checks of what they return."""

import gzip
import io
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import msgspec
from aiohttp import HttpVersion11
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from fetchml.adapters.jupyter.client import _Listed, _milliseconds
from fetchml.api import task_messages
from fetchml.api.grpc import call
from fetchml.api.grpc.tasks import list_request
from fetchml.api.http import body
from fetchml.api.http.query import Query
from fetchml.api.listing import listing
from fetchml.api.proxy import headers
from fetchml.api.proxy.socket import _handshake_key
from fetchml.api.trace import new_trace
from fetchml.api.ws import handshake
from fetchml.api.ws.frames import Frames
from fetchml.api.ws.watch import _FromClient
from fetchml.backup.sparse import read_map
from fetchml.config.proxies import Network, Proxies
from fetchml.core import jupyter, snapshots
from fetchml.core.model import DatasetSpec, Resources, Status
from fetchml.core.requests import checks, dataset, experiment, project_file, submission, text
from fetchml.core.requests.submission import TaskLimits
from fetchml.errors import RequestError
from fetchml.files.attempt_folder import AttemptFolder
from fetchml.files.tar_reader import members
from fetchml.snapshots.unpack import UnpackLimits, unpack
from fetchml.tracking.filters import parse_filter, parse_order
from fetchml.v1 import task_pb2
from tests.fuzz.target import as_text
from tests.support.accepting import accept
from tests.support.project_files import project_of

DEFAULTS = submission.Defaults("image", ("run",), TaskLimits(), 0)
BOX = Resources(8, 64, 8)
LIMITS = UnpackLimits(1 << 20, 100)
LINK: Any = Mock(service_id="id", token="token", base_path="/jupyter/id/")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def run_filter(data: bytes) -> None:
    given = as_text(data)
    with suppress(RequestError):
        parse_order([given])
    for condition in parse_filter(given):
        msgspec.json.encode(condition)
        assert condition.field.name


# Heads


def forwarded_for(data: bytes) -> None:
    proxies = Proxies([Network.parse("127.0.0.0/8"), Network.parse("::/0")])
    client = proxies.client_of("127.0.0.1", as_text(data))
    assert text.line_fault(client) is None
    assert len(client) <= text.MAX_ADDRESS


def trace(data: bytes) -> None:
    first, _, second = as_text(data).partition("\n")
    assert _UUID.fullmatch(new_trace(first, second))


def query(data: bytes) -> None:
    url = URL.build(path="/", query_string=as_text(data), encoded=True)
    request: Any = Mock(query=url.query, raw_path=url.raw_path_qs)
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
    body._check_content_type(as_text(data))


def web_socket_head(data: bytes) -> None:
    values = as_text(data).split("\n")
    names = ("Sec-WebSocket-Protocol", "X-API-Key", "Sec-WebSocket-Key", "Connection")
    headers = CIMultiDict(zip(names, values, strict=False))
    headers["Sec-WebSocket-Version"] = "13"
    request: Any = Mock(
        method="GET", version=HttpVersion11, headers=CIMultiDictProxy(CIMultiDict(headers))
    )
    handshake.key_of(request, handshake.protocols_of(request))
    _handshake_key(request)


def jupyter_target(data: bytes) -> None:
    target = headers.parse_target(as_text(data))
    if target is not None:
        assert target.whole == as_text(data)
        assert target.whole.isascii()


def cookies(data: bytes) -> None:
    """Parse headers of a Jupyter reply, given as `name: value` lines."""
    pairs = [line.partition(":")[::2] for line in as_text(data).split("\n")]
    given = CIMultiDictProxy(CIMultiDict(pairs))
    kept = headers.for_browser(given, "/jupyter/id/")
    for cookie in kept.getall("Set-Cookie", ()):
        attributes = [part.partition("=")[0].strip().lower() for part in cookie.split(";")[1:]]
        assert "domain" not in attributes
    headers.for_jupyter(given, LINK)
    headers.protocols(given)


def grpc_peer(data: bytes) -> None:
    assert isinstance(call.address_of(as_text(data)), str)


# Bodies and messages


def json_body(data: bytes) -> None:
    body._has_too_many_values(data)
    request = msgspec.json.decode(data)
    if type(request) is not dict:
        return
    checks.read(request, experiment.ExperimentRequest)
    jupyter.read(request, BOX, TaskLimits())
    spec = accept(request, DEFAULTS, BOX)
    assert text.storable(spec) is spec
    _ = spec.argv


def create_message(data: bytes) -> None:
    request = task_pb2.CreateTaskRequest.FromString(data)
    spec = accept(task_messages.split_create(request)[0], DEFAULTS, BOX)
    assert text.storable(spec) is spec


def list_message(data: bytes) -> None:
    found = listing(list_request(task_pb2.ListTasksRequest.FromString(data)))
    assert 0 <= found.query.limit <= 1001


def ws_message(data: bytes) -> None:
    msgspec.json.decode(data, type=_FromClient)


def ws_stream(data: bytes) -> None:
    """The bytes that pass do not depend on how the stream is split into pieces."""
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
    found = dataset.read(DatasetSpec(source=as_text(data), name="d"))
    assert text.storable(found.location) is found.location


def toml(data: bytes) -> None:
    file = project_of(data.decode())
    assert len(file.faults) <= 10
    for violation in file.faults:
        assert len(violation.rule) <= 2000
    for violation in project_file.grant_violations(file, (), ()):
        assert len(violation.rule) <= 2000


# Archives


def tar(data: bytes) -> None:
    source = io.BytesIO(data)
    reader: Any = Mock(read=source.read, tell=source.tell, skip=lambda size: source.seek(size, 1))
    for member in members(reader):
        snapshots.path_fault(member.path)
        snapshots.link_fault(member.path, member.link)


def sparse_map(data: bytes) -> None:
    """Of a file of 64 KiB in a backup."""
    source = io.BytesIO(data)
    for part in read_map(source, len(data), 1 << 16):
        assert 0 <= part.offset <= part.offset + part.length <= 1 << 16
        assert len(source.read(part.length)) == part.length
    assert source.tell() == len(data)


def archive(data: bytes) -> None:
    """Unpack the bytes as they are, or compressed with gzip first."""
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder, "archive")
        packed.write_bytes(data if data[:2] == b"\x1f\x8b" else gzip.compress(data, 1))
        entries = unpack(packed, Path(folder, "tree"), LIMITS, lambda: None)
        listed = snapshots.manifest(entries)
        assert snapshots.manifest(snapshots.entries_of(listed)) == listed
        inside = [path for path in Path(folder).rglob("*") if not path.is_symlink()]
        assert all(path.resolve().is_relative_to(folder) for path in inside)


def snapshot_manifest(data: bytes) -> None:
    list(snapshots.entries_of(b"fetchml snapshot 1\n" + data))


# Files and replies of tasks and Jupyter


def run_folder(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        attempt = AttemptFolder(Path(folder, "a"))
        attempt.run.mkdir(parents=True)
        for name in ("claim", "started", "exit", "log.00000000000000000007"):
            (attempt.run / name).write_bytes(data)
        claim, started, end = attempt.claim(), attempt.started(), attempt.end()
        assert text.storable(claim) is claim
        if started is not None:
            assert 0 <= started.at < 1 << 48
        if end is not None:
            assert text.storable(end) is end
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
