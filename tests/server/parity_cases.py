"""Valid, invalid and unreadable requests that both transports answer alike."""

from typing import Any

from grpc import StatusCode as Code

from tests.support.archives import archive

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
        "may_idle": False,
        "environment": {},
    },
    "nothing asked": {"job_name": "a", "cpu": 0, "memory_gb": 0, "gpu": 0, "priority": 1},
    "no arguments": {"job_name": "a", "args": ""},
}
BAD: dict[str, dict[str, Any]] = {
    # Of the rules of the core, whose tests name every one of them.
    "no job_name": {},
    "NUL in the name": {"job_name": "a\0"},
    "negative priority": {"job_name": "a", "priority": -(2**31)},
    "unbalanced quote": {"job_name": "a", "args": "'"},
    "mount upwards": {"job_name": "a", "dataset_specs": [{"mount_path": "/data/../etc"}]},
    "task and sweep before": {"job_name": "a", "after": [{"task_id": "x", "sweep_id": "y"}]},
    "secret named twice": {"job_name": "a", "secrets": [{"name": "A"}, {"name": "A"}]},
    "webhook without an address": {"job_name": "a", "notify": [{"on": ["failed"]}]},
    "too long a command": {"job_name": "a", "command": ["x" * 30_000] * 10},
    "Slurm on one host": {"job_name": "a", "slurm": {"partition": "gpu"}},
    "many rules at once": {"job_name": "!", "priority": 0, "args": "'", "cpu": -1, "gpu": 9},
    # Of what the server has.
    "more cpu than there is": {"job_name": "a", "cpu": 5},
    "no such file": {
        "job_name": "a",
        "environment": {"requirements": "none.txt"},
        "snapshot_id": SNAPSHOT,
    },
    "unknown snapshot": {"job_name": "a", "snapshot_id": "0" * 64},
    "out of the root": {"job_name": "a", "dataset_specs": [{"name": "d", "source": "../d"}]},
    "private address": {"job_name": "a", "dataset_specs": [{"source": "http://10.0.0.1/d"}]},
    "unknown task before": {"job_name": "a", "after": [{"task_id": "x"}]},
    "unknown sweep by index": {"job_name": "a", "after": [{"sweep_id": "x", "same_index": True}]},
    "missing file": {"job_name": "a", "secrets": [{"name": "MISSING", "as": "file"}]},
    "webhook to a private address": {"job_name": "a", "notify": [{"url": "http://10.0.0.1/"}]},
}
ONLY_REST: dict[str, tuple[bytes, str]] = {
    "nested in full": (b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "BAD_REQUEST"),
    "lone surrogate": (b'{"job_name":"\\ud800"}', "BAD_REQUEST"),
    "5,000 digits": (b'{"job_name":"a","cpu":' + b"9" * 5000 + b"}", "VALIDATION_ERROR"),
    "2^31": (b'{"job_name":"a","cpu":2147483648}', "VALIDATION_ERROR"),
    "checkpoint of no task": (b'{"job_name":"a","checkpoint_from":"x"}', "VALIDATION_ERROR"),
    "unknown volume": (b'{"job_name":"a","volumes":["x"]}', "VALIDATION_ERROR"),
    "idle where it is not allowed": (b'{"job_name":"a","may_idle":true}', "VALIDATION_ERROR"),
}
UNKNOWN_IDS = [
    "00000000-0000-7000-8000-000000000000",
    "..",
    "é" * 100,
    "a\0b",
    "'; drop table tasks; --",
]
