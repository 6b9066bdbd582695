"""The fuzz targets: for every parser of untrusted bytes, example inputs and expected errors.

A target is called with bytes. It returns, or raises one of its `refusals`; any other exception is a
finding. What it returns must be storable and bounded where it is kept.
"""

import gzip
import io
import tarfile
from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import strategies as st

from fetchml.core.requests import (
    submission,
)
from fetchml.errors import RequestError
from fetchml.snapshots.unpack import RefusedArchive, UnreadableArchive
from fetchml.v1 import task_pb2
from tests.fuzz import budget, calls, cluster, entering, metric_files, parsers, sources
from tests.fuzz.target import STEERING, SURROGATES, WIRE, Target

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
WIRE_TOKENS = [*WIRE, TASK]
REQUEST_ERRORS = (RequestError,)

HEADS_SHARE = 4.0
"""Of HTTP heads against the real server."""

TARGETS: dict[str, Target] = {
    **calls.TARGETS,
    **cluster.TARGETS,
    **entering.TARGETS,
    **metric_files.TARGETS,
    **sources.TARGETS,
    "forwarded_for": Target(
        parsers.forwarded_for,
        [b"10.0.0.1, 127.0.0.1", b"fe80::1%eth0", b"[::1]:80", b"::ffff:1.2.3.4"],
        [*SURROGATES, *STEERING, b"%", b",", b":", b"[", b"]", b"127.0.0.1", b"::1", b"9" * 30],
    ),
    "trace": Target(
        parsers.trace,
        [b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n", b"\n" + b"0" * 36],
        [*SURROGATES, *STEERING, b"-", b"0" * 32, b"ff", b"\n"],
    ),
    "query": Target(
        parsers.query,
        [b"limit=1&since=2026-01-01T00:00:00Z", b"follow=1&status=queued", b"view=full&task_id=x"],
        [*SURROGATES, *STEERING, b"&", b"=", b";", b"limit=", b"since=", b"9" * 30, b"+99:99"],
        REQUEST_ERRORS,
    ),
    "run_filter": Target(
        parsers.run_filter,
        [b"metrics.`a b` < 1e3 and run_id IN ('a', 'b')", b"tags.x IS NOT NULL AND status = 'x'"],
        [
            *SURROGATES,
            *STEERING,
            b"`",
            b"'",
            b'"',
            b".",
            b"(",
            b",",
            b" AND ",
            b"NOT IN",
            b"9" * 400,
        ],
        REQUEST_ERRORS,
    ),
    "content_type": Target(
        parsers.content_type,
        [b"application/json", b'application/json; charset="utf-8"'],
        [*SURROGATES, *STEERING, b";", b"charset="],
        REQUEST_ERRORS,
    ),
    "web_socket_head": Target(
        parsers.web_socket_head,
        [b"fetchml.v1, fetchml.key.x\nkey\n" + b"MDAwMDAwMDAwMDAwMDAwMA==\nUpgrade"],
        [*SURROGATES, b"\n", b",", b"fetchml.key.", b"="],
        REQUEST_ERRORS,
    ),
    "jupyter_target": Target(
        parsers.jupyter_target,
        [b"/jupyter/a/", b"/jupyter/a/b?c=d", b"/jupyter/a/..%2f"],
        [*SURROGATES, *STEERING, b"/", b"..", b"%2e%2e", b"\\", b"?", b"#", b"%5c"],
    ),
    "cookies": Target(
        parsers.cookies,
        [b"Set-Cookie: a=b; path=/jupyter/id/\nConnection: x", b"Cookie: a=b; _xsrf=c"],
        [*SURROGATES, b"\n", b";", b"=", b"path", b"Path=/", b"domain", b"\t", b"Connection: "],
        (ValueError,),
    ),
    "grpc_peer": Target(
        parsers.grpc_peer,
        [b"ipv4:127.0.0.1:5", b"ipv6:%5B::1%5D:5", b"unix:/x"],
        [*SURROGATES, *STEERING, b":", b"%5B", b"]"],
    ),
    "json_body": Target(
        parsers.json_body,
        [
            b'{"job_name": "a", "args": "a \'b\'", "metadata": {"a": "b"}, "env": {"A": "b"}}',
            b'{"job_name": "a", "dataset_specs": [{"name": "d", "source": "http://h/x"}]}',
            b'{"name": "a", "workspace": "a/b", "image": "i", "description": "x"}',
        ],
        JSON_TOKENS,
        (submission.InvalidSubmission, ValueError, RecursionError),
        is_json=True,
    ),
    "create_message": Target(
        parsers.create_message,
        [TASK],
        WIRE_TOKENS,
        (submission.InvalidSubmission, DecodeError),
        message=task_pb2.CreateTaskRequest,
    ),
    "list_message": Target(
        parsers.list_message,
        [
            task_pb2.ListTasksRequest(page_size=5, page_token="A" * 38).SerializeToString(),
            task_pb2.ListTasksRequest(
                limit=5, states=[task_pb2.Task.queued], status="queued"
            ).SerializeToString(),
            task_pb2.ListTasksRequest(
                text="a", labels=["a=b", "c"], created_after=Timestamp(seconds=1), id_suffix="abcd"
            ).SerializeToString(),
        ],
        [*WIRE_TOKENS, b"-_", b"="],
        (RequestError, DecodeError),
        message=task_pb2.ListTasksRequest,
    ),
    "ws_message": Target(
        parsers.ws_message,
        [b'{"type": "ping"}'],
        JSON_TOKENS,
        (ValueError, RecursionError),
        is_json=True,
    ),
    "ws_stream": Target(
        parsers.ws_stream,
        [b"\x81\x83\0\0\0\0abc", b"\x88\x02\x03\xe8", b"\x82\x7e\x00\x80" + b"x" * 128],
        [b"\x81", b"\x80", b"\x7f" + b"\xff" * 8, b"\x88\x80\0\0\0\0", b"\x09\x00", b"\xf1"],
    ),
    "dataset_source": Target(
        parsers.dataset_source,
        [b"http://host/a", b"file:///a/b", b"s3://b/k", b"http://[::1]:80/x#y", b"a/b"],
        [*SURROGATES, *STEERING, b"://", b"@", b"[", b"]", b":", b"#", b"%2f", b"..", b"9" * 9],
        (ValueError,),
    ),
    "toml": Target(
        parsers.toml,
        [b'image = "a"\ncommand = ["a"]\ncpu = 1\n[env]\nA = "b"\n', b"gpus = 1\n"],
        [*SURROGATES, *STEERING, b"[", b"]", b"=", b'"""', b"'", b".", b"a.", b"9" * 400, b"inf"],
        (UnicodeDecodeError,),
    ),
    "tar": Target(parsers.tar, TARS, TAR_TOKENS, (ValueError, tarfile.TarError)),
    "archive": Target(
        parsers.archive,
        [*TARS, gzip.compress(TARS[0], mtime=0)],
        TAR_TOKENS,
        (UnreadableArchive, RefusedArchive),
    ),
    "sparse_map": Target(
        parsers.sparse_map,
        (
            b"1\n0\n4\n".ljust(512, b"\0") + b"data",
            b"2\n512\n2\n65536\n0\n".ljust(512, b"\0") + b"ab",
            b"0\n".ljust(512, b"\0"),
        ),
        (b"\n", b"0\n", b"1\n", b"65536\n", b"\0" * 512),
        (ValueError,),
    ),
    "snapshot_manifest": Target(
        parsers.snapshot_manifest,
        [b"a\0file\0" + b"3\0" + b"0" * 64 + b"\0"],
        [*SURROGATES, b"\0", b"link", b"9" * 9],
        (ValueError,),
    ),
    "run_folder": Target(
        parsers.run_folder,
        [
            b"code=0\nat_ms=1700000000001\nstarted_ms=1700000000000\ntimed_out=0\nerror=x\n",
            b"signal=9\nat_ms=5\nstopped=1\npid=7\nstarttime=99\nboot_id=abc\nrevoked=0\n",
        ],
        [*SURROGATES, *STEERING, b"=", b"\n", b"-1", b"9" * 20, "\u0663".encode(), b"1_0"],
    ),
    "jupyter_activity": Target(
        parsers.jupyter_activity,
        [b'[{"last_activity": "2026-01-01T00:00:00Z", "execution_state": "busy"}]'],
        [*JSON_TOKENS, b"0001-01-01T00:00:00", b"9999-12-31T23:59:59.999999-23:59"],
        (ValueError, RecursionError),
        is_json=True,
    ),
    "last_words": Target(
        parsers.last_words,
        [b"a\nerror: token\n"],
        [*SURROGATES, *STEERING, b"token", b"\x1b[0;31m"],
    ),
}


def fuzz(
    name: str, parse: Callable[[bytes], None], inputs: st.SearchStrategy[bytes], share: float
) -> None:
    """Give a target its share of the inputs, or of `FUZZ_SECONDS`."""
    if budget.SECONDS:
        shares = HEADS_SHARE + sum(each.share for each in TARGETS.values())
        tried = budget.fuzz(name, parse, inputs, budget.SECONDS * share / shares)
    else:
        tried = budget.try_same(name, parse, inputs, int(budget.SAME * share))
    assert tried >= budget.LEAST
