"""The memory that a live task takes.

The size of its JSON is no measure: one character beyond ASCII makes a text several times as large
in memory, and an entry of two letters in a table takes a hundred bytes.
"""

from collections.abc import Collection
from operator import attrgetter
from sys import getsizeof

from fetchml.core.model import Task, TaskSpec

TASK_BYTES = 1024
"""Bytes beside the specification: the task's record, and its entries in the queue and indexes."""

DEPENDENCY_BYTES = 512
"""Bytes of one task or sweep that it starts after, beside ids: its entries in four tables."""
TARGET_BYTES = 192
"""Bytes of an address of `notify`, beside the URL."""
ATTEMPT_BYTES = 448
"""Bytes of an earlier attempt, beside its error."""
MEMBER_BYTES = 512
"""Bytes of a task's place in a sweep, beside the parameters."""
TEXT_BYTES = 49
"""Bytes of a string of ASCII, beside one for each character."""
WIDE_TEXT_BYTES = 80
"""Bytes of another string, beside its characters."""
WIDE_CHARACTER_BYTES = 4
"""Bytes of a character of such a string at most, beside its UTF-8."""


_rarely_used = attrgetter(
    "snapshot_id", "experiment_id", "checkpoint_from", "metadata", "env", "environment", "slurm",
    "sweep", "datasets", "after", "inputs_from", "volumes", "secrets", "notify", "dataset_specs",
)  # fmt: skip
"""Returns a specification's further fields that take memory."""
_UNUSED = _rarely_used(TaskSpec(job_name="", image="", command=()))


def footprint(spec: TaskSpec) -> int:
    """Bytes of memory that a task with this specification takes."""
    words = (spec.job_name, spec.image, *spec.command)
    if spec.args is not None:
        words += (spec.args,)
    total = TASK_BYTES + 8 * len(spec.command) + _texts(words)
    # Each submit passes here, and most use none of them.
    return total if _rarely_used(spec) == _UNUSED else total + _further(spec)


def _further(spec: TaskSpec) -> int:
    total = 0
    if spec.snapshot_id is not None:
        total += _text(spec.snapshot_id)
    if spec.experiment_id is not None:
        total += _text(spec.experiment_id)
    if spec.checkpoint_from is not None:
        total += _text(spec.checkpoint_from)
    if spec.metadata is not None:
        total += _table(spec.metadata)
    if spec.env is not None:
        total += _table(spec.env)
    if spec.environment is not None:
        named = spec.environment.source
        total += getsizeof(spec.environment) + (_text(named[1]) if named else 0)
    if spec.slurm is not None:
        total += _table(spec.slurm)
    if spec.sweep is not None:
        total += MEMBER_BYTES + _table(spec.sweep.parameters)
    if spec.datasets is not None:
        total += _all(spec.datasets)
    if spec.after is not None:
        total += sum([DEPENDENCY_BYTES + _text(each.task_id) for each in spec.after])
        total += sum([_text(each.sweep_id) for each in spec.after if each.sweep_id])
    if spec.inputs_from is not None:
        total += _all(spec.inputs_from)
    if spec.volumes is not None:
        total += _all(spec.volumes)
    if spec.secrets is not None:
        total += sum([getsizeof(each) + _text(each.name) + 8 for each in spec.secrets])
    if spec.notify is not None:
        total += sum([TARGET_BYTES + _text(each.url) for each in spec.notify])
    if spec.dataset_specs is not None:
        total += getsizeof(spec.dataset_specs)
        for each in spec.dataset_specs:
            texts = (each.name, each.source, each.sha256, each.mount_path)
            total += getsizeof(each) + _all([text for text in texts if text is not None])
    return total


def task_footprint(task: Task) -> int:
    """Bytes of memory that a task takes, with what it keeps of earlier attempts."""
    total = footprint(task.spec)
    if task.earlier_attempts:
        total += sum([ATTEMPT_BYTES + _text(each.error) for each in task.earlier_attempts])
    return total


def _text(text: str) -> int:
    """Bytes of a string at most, with its UTF-8, which Python keeps from when the string is first
    encoded. `getsizeof` counts that only from then on, so it would subtract other bytes than it had
    added."""
    if text.isascii():
        return TEXT_BYTES + len(text)
    utf8 = text.encode(errors="surrogatepass")  # Unlike `json`, it keeps nothing in the string.
    return WIDE_TEXT_BYTES + WIDE_CHARACTER_BYTES * len(text) + len(utf8)


def _texts(texts: Collection[str]) -> int:
    """Bytes of the texts as `_text` counts them."""
    joined = "".join(texts)
    if joined.isascii():
        return TEXT_BYTES * len(texts) + len(joined)
    return sum(map(_text, texts))


def _table(table: dict[str, str]) -> int:
    return getsizeof(table) + sum(map(_text, table)) + sum(map(_text, table.values()))


def _all(texts: Collection[str]) -> int:
    """Bytes of the texts and of the references to them."""
    return 8 * len(texts) + sum(map(_text, texts))
