"""The memory that a live task takes, estimated by the JSON of its specification."""

import msgspec

from fetchml.core.model import Task, TaskSpec

TASK_BYTES = 640
"""Bytes in addition to the specification: the task's record, and its entries in the queue and
indexes. With the names of the fields, which each record has in its JSON but not in memory, 1
KiB."""
ATTEMPT_BYTES = 448
"""Bytes of an earlier attempt, without its error."""
QUOTE_BYTES = 48
"""Bytes per quotation mark in the JSON: a string has two, and takes about a hundred bytes beside
its characters as an entry of a table."""
WIDE = 5
"""Bytes per byte of JSON that is not ASCII: one wide character makes a string four times as large,
and Python keeps its UTF-8 too."""

encode_spec = msgspec.json.Encoder().encode


def footprint(encoded: bytes) -> int:
    """Bytes of memory of a task with this specification, encoded by `encode_spec`."""
    return TASK_BYTES + _memory(encoded)


def spec_footprint(spec: TaskSpec) -> int:
    return footprint(encode_spec(spec))


def task_footprint(task: Task) -> int:
    """Bytes of memory that a task takes, with what it keeps of earlier attempts."""
    total = spec_footprint(task.spec)
    for each in task.earlier_attempts or ():
        total += ATTEMPT_BYTES + _memory(encode_spec(each.error))
    return total


def _memory(encoded: bytes) -> int:
    size = len(encoded) if encoded.isascii() else WIDE * len(encoded)
    return size + QUOTE_BYTES * encoded.count(b'"')
