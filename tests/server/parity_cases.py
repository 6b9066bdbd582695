"""Valid, invalid and unreadable requests that both transports answer alike."""

from typing import Any

from grpc import StatusCode as Code

from tests.contract.schemathesis_archives import archive

STATUS = {
    "BAD_REQUEST": (400, Code.INVALID_ARGUMENT),
    "UNAUTHORIZED": (401, Code.UNAUTHENTICATED),
    "FORBIDDEN": (403, Code.PERMISSION_DENIED),
    "NOT_FOUND": (404, Code.NOT_FOUND),
    "CONFLICT": (409, Code.FAILED_PRECONDITION),
    "VALIDATION_ERROR": (422, Code.INVALID_ARGUMENT),
}
BOX = {"FETCHML_RESOURCES_CPU": "4", "FETCHML_RESOURCES_MEMORY_GB": "8", "FETCHML_GPU_SLOTS": "1"}
BLOCKED = {"FETCHML_TASKS_MAX_RUNNING": "1"}
LARGEST = 2**31 - 1
CODE = archive({"train.py": b"print(1)"})
SNAPSHOT = "5137c122cb61e98fbb39bca1a1d79e5ba0d622d12f0aaad2dcef417fafbbf720"
"""The id of CODE."""
GOOD: dict[str, dict[str, Any]] = {
    "shortest": {"job_name": "a"},
    "longest name": {"job_name": "x" * 64},
    "everything": {
        "job_name": "A_b-9",
        "priority": 10,
        "args": '--lr 0.1 \'a b\' "c\\"d" é',
        "snapshot_id": SNAPSHOT,
        "datasets": ["mnist", "a.b"],
        "dataset_specs": [{"name": "c", "mount_path": "/data/c", "sha256": "0" * 64}],
        "cpu": 4,
        "memory_gb": 8,
        "gpu": 1,
        "metadata": {"key with spaces": "é", "empty": ""},
        "image": "registry.example/a/b:c",
        "command": ["sh", "-c", ""],
        "env": {"A": "1", "_b": ""},
        "timeout_seconds": 1,
        "max_retries": 100,
        "preemptible": True,
        "checkpoint": True,
        "warn_seconds": 0,
        "start_after": "2020-01-01T00:00:00.250Z",
        "hold": False,
    },
    "nothing asked": {"job_name": "a", "cpu": 0, "memory_gb": 0, "gpu": 0, "priority": 1},
    "no arguments": {"job_name": "a", "args": ""},
}
BAD: dict[str, dict[str, Any]] = {
    "no job_name": {},
    "only others": {"priority": 3},
    "empty name": {"job_name": ""},
    "space in the name": {"job_name": "a b"},
    "line break in the name": {"job_name": "a\n"},
    "NUL in the name": {"job_name": "a\0"},
    "letter of another alphabet": {"job_name": "é"},
    "digit of another alphabet": {"job_name": "٣"},
    "too long a name": {"job_name": "x" * 65},
    "priority 0": {"job_name": "a", "priority": 0},
    "priority 11": {"job_name": "a", "priority": 11},
    "negative priority": {"job_name": "a", "priority": -(2**31)},
    "unbalanced quote": {"job_name": "a", "args": "'"},
    "unbalanced double quote": {"job_name": "a", "args": 'a "b'},
    "trailing backslash": {"job_name": "a", "args": "a\\"},
    "NUL in args": {"job_name": "a", "args": "a\0b"},
    "too long args": {"job_name": "a", "args": "x" * (1 << 15)},
    "empty snapshot": {"job_name": "a", "snapshot_id": ""},
    "data set elsewhere": {"job_name": "a", "datasets": ["../etc"]},
    "data set without a name": {"job_name": "a", "datasets": ["ok", ""]},
    "too many data sets": {"job_name": "a", "datasets": ["x"] * 1001},
    "mount over the system": {"job_name": "a", "dataset_specs": [{"mount_path": "/etc/x"}]},
    "mount on the root": {"job_name": "a", "dataset_specs": [{"mount_path": "/"}]},
    "mount upwards": {"job_name": "a", "dataset_specs": [{"mount_path": "/data/../etc"}]},
    "relative mount": {"job_name": "a", "dataset_specs": [{"mount_path": "data"}]},
    "unknown snapshot": {"job_name": "a", "snapshot_id": "0" * 64},
    "out of the root": {"job_name": "a", "dataset_specs": [{"name": "d", "source": "../d"}]},
    "private address": {"job_name": "a", "dataset_specs": [{"source": "http://10.0.0.1/d"}]},
    "no checksum": {"job_name": "a", "dataset_specs": [{"sha256": "g" * 64}]},
    "unknown task before": {"job_name": "a", "after": [{"task_id": "x"}]},
    "task before without an id": {"job_name": "a", "after": [{"condition": "ended"}]},
    "task before named twice": {
        "job_name": "a",
        "after": [{"task_id": "x"}, {"task_id": "x", "condition": "failed"}],
    },
    "negative cpu": {"job_name": "a", "cpu": -1},
    "more cpu than there is": {"job_name": "a", "cpu": 5},
    "more memory than there is": {"job_name": "a", "memory_gb": LARGEST},
    "more gpu than there is": {"job_name": "a", "gpu": 2},
    "no image": {"job_name": "a", "image": ""},
    "two images": {"job_name": "a", "image": "a b"},
    "NUL in the command": {"job_name": "a", "command": ["\0"]},
    "too long a command": {"job_name": "a", "command": ["x" * 30_000] * 10},
    "no variable": {"job_name": "a", "env": {"1": "x"}},
    "our variable": {"job_name": "a", "env": {"FETCHML_TASK_ID": "x"}},
    "NUL in a variable": {"job_name": "a", "env": {"A": "\0"}},
    "negative timeout": {"job_name": "a", "timeout_seconds": -1},
    "too long a timeout": {"job_name": "a", "timeout_seconds": LARGEST},
    "too many retries": {"job_name": "a", "max_retries": 101},
    "too much metadata": {"job_name": "a", "metadata": {"a": "x" * (1 << 16)}},
    "empty experiment": {"job_name": "a", "experiment_id": ""},
    "many rules at once": {"job_name": "!", "priority": 0, "args": "'", "cpu": -1, "gpu": 9},
}
ONLY_REST: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"{", "BAD_REQUEST"),
    "nested": (b"[" * 100_000, "BAD_REQUEST"),
    "nested in full": (b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "BAD_REQUEST"),
    "lone surrogate": (b'{"job_name":"\\ud800"}', "BAD_REQUEST"),
    "no UTF-8": (b'{"job_name":"\xff"}', "BAD_REQUEST"),
    "5,000 digits": (b'{"job_name":"a","cpu":' + b"9" * 5000 + b"}", "VALIDATION_ERROR"),
    "1e400": (b'{"job_name":"a","cpu":1e400}', "VALIDATION_ERROR"),
    "2^31": (b'{"job_name":"a","cpu":2147483648}', "VALIDATION_ERROR"),
    "true": (b'{"job_name":"a","cpu":true}', "VALIDATION_ERROR"),
    "1.0": (b'{"job_name":"a","cpu":1.0}', "VALIDATION_ERROR"),
    "text": (b'{"job_name":"a","cpu":"1"}', "VALIDATION_ERROR"),
    "null": (b'{"job_name":"a","cpu":null}', "VALIDATION_ERROR"),
    "checkpoint of no task": (b'{"job_name":"a","checkpoint_from":"x"}', "VALIDATION_ERROR"),
    "warning beyond the limit": (
        b'{"job_name":"a","timeout_seconds":9,"warn_seconds":9}',
        "VALIDATION_ERROR",
    ),
    "1 for true": (b'{"job_name":"a","preemptible":1}', "VALIDATION_ERROR"),
    "no object": (b"[]", "VALIDATION_ERROR"),
    "object for text": (b'{"job_name":{}}', "VALIDATION_ERROR"),
}
UNKNOWN_IDS = [
    "x",
    "00000000-0000-7000-8000-000000000000",
    "0198c0de-0000-7000-8000-000000000000 ",
    "..",
    "..\\etc",
    "é" * 100,
    "%00",
    "a\0b",
    "'; drop table tasks; --",
]
