"""Compares two tasks in all that made them, section by section.

What a section compares is a mapping from names to values, one for each task, or `None` for a task
of which it is not known.
"""

import difflib
import shlex
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from fetchml.core.model import ENDED, Task
from fetchml.core.snapshots import Entry, EntryKind

MAX_CHANGES = 500
"""Differences in one section of a reply."""
MAX_LINES = 2_000
"""Lines between the first and the last difference of two texts: the comparison takes up to a
quadratic time."""
MAX_DIFF_CHARACTERS = 64 * 1024
_CONTEXT = 3

Values = Mapping[str, str]


class Outcome(StrEnum):
    IDENTICAL = "identical"
    DIFFERENT = "different"
    UNKNOWN = "unknown"
    """One of the tasks has no record of it, or what it names is no longer kept."""


class Difference(NamedTuple):
    name: str
    before: str | None
    """`None` if the first task does not have it."""
    after: str | None
    diff: str | None = None
    """The lines of a text that differ."""
    note: str | None = None


class Section(NamedTuple):
    name: str
    outcome: Outcome
    changes: Sequence[Difference] = ()
    compared: int = 0
    """Number of things that were compared."""
    omitted: int = 0
    """Number of differences beyond MAX_CHANGES."""
    note: str | None = None


MADE_OF = frozenset({"code", "environment", "data", "image", "parameters"})
"""The sections that decide whether two tasks are the same."""


class TaskDiff(NamedTuple):
    task_id: str
    other_id: str
    sections: Sequence[Section]

    @property
    def outcome(self) -> Outcome:
        outcomes = {each.outcome for each in self.sections if each.name in MADE_OF}
        for worst in (Outcome.DIFFERENT, Outcome.UNKNOWN):
            if worst in outcomes:
                return worst
        return Outcome.IDENTICAL


def compare(name: str, before: Values | None, after: Values | None, note: str = "") -> Section:
    """`note`: why one of the two is not known."""
    if before is None or after is None:
        return Section(name, Outcome.UNKNOWN, note=note or "one of the tasks has no record of it")
    changes = [
        Difference(each, before.get(each), after.get(each))
        for each in sorted(before.keys() | after.keys())
        if before.get(each) != after.get(each)
    ]
    return Section(
        name,
        Outcome.DIFFERENT if changes else Outcome.IDENTICAL,
        changes[:MAX_CHANGES],
        compared=len(before.keys() | after.keys()),
        omitted=max(0, len(changes) - MAX_CHANGES),
        note=note or None,
    )


def files_of(entries: Sequence[Entry]) -> Values:
    """The values of a tree of code."""
    marks = {EntryKind.LINK: "link to ", EntryKind.EXECUTABLE: "executable "}
    return {each.path: marks.get(each.kind, "") + each.content for each in entries}


def packages_of(packages: Sequence[str]) -> Values:
    return {name: version for name, _, version in (each.partition("==") for each in packages)}


def image(before: Task, after: Task) -> Section:
    one, other = before.ran_with, after.ran_with
    if one is None or other is None:
        names = {"image": before.spec.image}, {"image": after.spec.image}
        section = compare("image", *names, "only the name is known")
        is_same = section.outcome is Outcome.IDENTICAL
        return section._replace(outcome=Outcome.UNKNOWN) if is_same else section
    if one.image_id is None and other.image_id is None:
        return Section("image", Outcome.IDENTICAL, note="neither ran in a container")
    ids = [{"image": each.image_id} if each.image_id else {} for each in (one, other)]
    section = compare("image", ids[0], ids[1], one.image_digest or one.image_id or "")
    shown = [each.image_digest or each.image_id for each in (one, other)]
    changes = [each._replace(before=shown[0], after=shown[1]) for each in section.changes]
    return section._replace(changes=changes, note=None if changes else section.note)


def data(before: Task, after: Task) -> Section:
    known = [_datasets(each) for each in (before, after)]
    section = compare("data", known[0], known[1])
    sums = [set(each.values()) for each in known if each is not None]
    if section.outcome is Outcome.IDENTICAL and any(UNSUMMED in each for each in sums):
        note = "some datasets have no checksum: give their sha256 in the request"
        return section._replace(outcome=Outcome.UNKNOWN, note=note)
    return section


UNSUMMED = "no checksum"


def _datasets(task: Task) -> Values | None:
    if not (task.spec.datasets or task.spec.dataset_specs):
        return {}
    if task.ran_with is None:
        return None
    return {
        each.name: f"sha256 {each.sha256}"
        if each.sha256
        else f"listing {each.listing}"
        if each.listing
        else UNSUMMED
        for each in task.ran_with.datasets
    }


def parameters(before: Task, after: Task, *, values: bool) -> Section:
    """`values`: the caller may learn whether values of variables differ. They are never shown."""
    one, other = _parameters(before), _parameters(after)
    if values:
        old, new = before.spec.env or {}, after.spec.env or {}
        for name in old.keys() & new.keys():
            if old[name] != new[name]:
                other[f"variable {name}"] = "set to another value"
    return compare("parameters", one, other)


def _parameters(task: Task) -> dict[str, str]:
    spec = task.spec
    given: dict[str, str | None] = {
        "command": shlex.join(spec.argv),
        "checkpoint from": spec.checkpoint_from,
        **{f"parameter {name}": value for name, value in spec.parameters.items()},
        **{f"variable {name}": "set" for name in spec.env or ()},
        **{f"secret {each.name}": each.form.value for each in spec.secrets or ()},
        **{f"volume {name}": "mounted" for name in spec.volumes or ()},
        **{f"inputs from {task_id}": "mounted" for task_id in spec.inputs_from or ()},
        **{f"slurm {name}": value for name, value in (spec.slurm or {}).items()},
    }
    return {name: value for name, value in given.items() if value is not None}


def hardware(before: Task, after: Task) -> Section:
    return compare("hardware", _hardware(before), _hardware(after))


def _hardware(task: Task) -> Values | None:
    found = task.ran_with
    if found is None:
        return None
    given = {
        "host": found.host,
        "kernel": found.kernel,
        "FetchML": found.release,
        "GPUs": ", ".join(found.gpus) or None,
        "GPU driver": found.driver,
        "CUDA": found.cuda,
        "requested": f"{task.spec.cpu or 0} cores, {task.spec.memory_gb or 0} GiB, "
        f"{task.spec.gpu or 0} GPUs",
    }
    return {name: value for name, value in given.items() if value is not None}


def results(
    before: Task, after: Task, metrics: tuple[Mapping[str, float], Mapping[str, float]]
) -> Section:
    if before.status not in ENDED or after.status not in ENDED:
        return Section("results", Outcome.UNKNOWN, note="one of the tasks has not ended")
    values = [
        {"status": task.status.value, "exit code": str(task.exit_code)}
        | {name: repr(number) for name, number in numbers.items()}
        for task, numbers in zip((before, after), metrics, strict=True)
    ]
    return compare("results", values[0], values[1])


def text_diff(before: bytes, after: bytes) -> tuple[str | None, str | None]:
    """Return the unified diff of two texts, or the reason why there is none."""
    try:
        old, new = (each.decode() for each in (before, after))
    except UnicodeDecodeError:
        return None, "binary"
    if "\0" in old or "\0" in new:
        return None, "binary"
    a, b = _lines(old), _lines(new)
    start = _common(a, b)
    end = _common(a[start:][::-1], b[start:][::-1])
    if max(len(a), len(b)) - start - end > MAX_LINES:
        return None, f"more than {MAX_LINES} lines apart"
    # Only the part that differs, with the lines around it, goes to the slow comparison.
    first, last = max(0, start - _CONTEXT), max(0, end - _CONTEXT)
    lines = difflib.unified_diff(a[first : len(a) - last], b[first : len(b) - last], n=_CONTEXT)
    text = "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
        for line in list(lines)[2:]
    )
    text = _renumbered(text, first)
    if len(text) > MAX_DIFF_CHARACTERS:
        return None, "the difference is too long to show"
    return text, None


def _lines(text: str) -> list[str]:
    """The lines with their ends; only the last one may have none."""
    *lines, last = text.split("\n")
    return [f"{line}\n" for line in lines] + ([last] if last else [])


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    count = 0
    for one, other in zip(a, b, strict=False):
        if one != other:
            break
        count += 1
    return count


def _renumbered(diff: str, by: int) -> str:
    """Add to the line numbers of the heads of a unified diff's hunks."""
    lines = diff.split("\n")
    for index, line in enumerate(lines):
        if line.startswith("@@ -"):
            ranges = line.split(" ")
            for place in (1, 2):
                number, comma, count = ranges[place][1:].partition(",")
                ranges[place] = f"{ranges[place][0]}{int(number) + by}{comma}{count}"
            lines[index] = " ".join(ranges)
    return "\n".join(lines)
