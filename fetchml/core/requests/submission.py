"""Validation of create requests and their translation to tasks (the contract's CreateTaskRequest,
readings 4 to 12 and 24).

A request is a parsed JSON object; gRPC requests are converted to the same shape. Every rule is a
line in `_RULES`.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, cast

import msgspec

from fetchml.core import environments as environment
from fetchml.core import notifications
from fetchml.core.addresses import PUBLIC_ADDRESSES, AddressRules
from fetchml.core.dependencies import request as dependencies
from fetchml.core.footprint import encode_spec, footprint
from fetchml.core.model import (
    DatasetSpec,
    Environment,
    NotifyTarget,
    Resources,
    SecretUse,
    Task,
    TaskSpec,
    Value,
)
from fetchml.core.notifications import address_fault
from fetchml.core.requests import (
    dataset,
    images,
    project_file,
    secrets,
    shell_words,
    slurm,
    volumes,
)
from fetchml.core.requests.checks import (
    MAX_ENTRIES,
    MAX_INT,
    NULL,
    Check,
    Violation,
    boolean,
    check_fields,
    image,
    integer,
    line,
    list_of,
    matching,
    milliseconds,
    strings,
    text,
    time_fault,
)
from fetchml.core.requests.project_file import NO_PROJECT, ProjectFile
from fetchml.core.requests.volumes import Volume
from fetchml.core.scheduling.resources import excess
from fetchml.core.snapshots import ParsedFile


class TaskLimits(Value, frozen=True):
    """Settings of the host's owner; 0 means no limit or no default."""

    cpu: int = 0
    """Default number of cores."""
    memory_gb: int = 0
    """Default memory in GiB."""
    timeout_seconds: int = 0
    """Default time limit."""
    max_cpu: int = 0
    max_memory_gb: int = 0
    max_timeout_seconds: int = 0

    def filled(self, fields: Mapping[str, object]) -> dict[str, object]:
        """Cores and memory of a request, with the defaults filled in."""
        if not self.cpu and not self.memory_gb:
            return {}
        given = {"cpu": self.cpu, "memory_gb": self.memory_gb}
        most = {"cpu": self.max_cpu, "memory_gb": self.max_memory_gb}
        return {
            name: min(number, most[name] or number)
            for name, number in given.items()
            if number and not fields.get(name)
        }

    def timeout(self, fields: Mapping[str, object]) -> int:
        """Time limit of a valid request."""
        asked = fields.get("timeout_seconds", self.timeout_seconds)
        most = self.max_timeout_seconds
        if not isinstance(asked, int):
            return most
        return min(asked or most, most) if most else asked


_MAXIMUMS = (("cpu", "max_cpu"), ("memory_gb", "max_memory_gb"), ("gpu", ""))
"""The setting that limits each resource; none for GPUs."""


def resource_violations(
    fields: Mapping[str, object], capacity: Resources, limits: TaskLimits
) -> list[Violation]:
    """Return the violations of a request for more than the host has or a task may have."""
    found = []
    for name, maximum in _MAXIMUMS:
        if name not in fields or not isinstance(asked := fields[name], int):
            continue
        may = getattr(limits, maximum) if maximum else 0
        if fault := excess(asked, getattr(capacity, name)):
            found.append(Violation(name, fault))
        elif may and asked > may:
            found.append(
                Violation(name, f"asks for {asked}, a task may have {may} ([tasks] max_{name})")
            )
    return found


def timeout_violations(fields: Mapping[str, object], limits: TaskLimits) -> list[Violation]:
    """Return the violation of a request for more time than a task may have."""
    asked, most = fields.get("timeout_seconds"), limits.max_timeout_seconds
    if not most or not isinstance(asked, int) or 0 < asked <= most:
        return []
    what = f"asks for {asked}" if asked else "asks for no limit"
    rule = f"{what}, a task may run for {most} s ([tasks] max_timeout_seconds)"
    return [Violation("timeout_seconds", rule)]


MAX_WARN_SECONDS = 600
"""A preempted task may keep the resources of a more urgent one for so long."""


def checkpoint_violations(fields: Mapping[str, object]) -> list[Violation]:
    """Return the violations of valid fields that don't fit each other."""
    found = []
    if "checkpoint_from" in fields and fields.get("checkpoint") is False:
        found.append(Violation("checkpoint_from", "needs a checkpoint: leave out checkpoint=false"))
    warn, limit = fields.get("warn_seconds"), fields.get("timeout_seconds")
    if isinstance(warn, int) and isinstance(limit, int) and 0 < limit <= warn:
        rule = f"must be less than timeout_seconds, which is {limit}"
        found.append(Violation("warn_seconds", rule))
    return found


def checkpoint_source_fault(source: Task | None) -> str | None:
    """Return why a task can't begin with the checkpoint of `source`; `None` if it can, or may be
    able to when it starts. `source`: `None` if there is no such task that the user may see."""
    if source is None:
        return "there is no such task"
    if not source.spec.checkpoint:
        return "that task has no checkpoint: it was submitted without checkpoint=true"
    if source.outputs_removed_at is not None:
        return "the checkpoint of that task was removed with its outputs"
    return None


MAX_BATCH = 10_000
"""Tasks in one message, which are created in one durable commit."""
MAX_TASKS_PER_CALL = 100_000
"""Tasks in all messages of a call: the server holds its reply until the client closes its side."""


def batch_size_fault(size: int, earlier: int) -> str | None:
    """Return the fault of a batch's size; `None` if it is valid. `earlier`: tasks in the call's
    earlier batches."""
    if not 1 <= size <= MAX_BATCH:
        return f"must be 1 to {MAX_BATCH} in one message"
    if earlier + size > MAX_TASKS_PER_CALL:
        return f"must not be more than {MAX_TASKS_PER_CALL} in one call: make another call"
    return None


MAX_ARGUMENT_CHARACTERS = 32 * 1024 - 1
"""Linux accepts 128 KiB for one argument; a character may need four bytes."""
MAX_REQUEST_BYTES = 256 * 1024
"""Size of a stored request as JSON: the store reads 128 tasks at once into memory."""
MAX_RETRIES = 100
MAX_METADATA_CHARACTERS = 64 * 1024

SYSTEM_PATHS = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/root", "/run",
    "/sbin", "/sys", "/usr", "/var", "/.fetchml", "/workspace", "/outputs", "/checkpoint",
    "/environment",
    "/volumes", "/secrets",
)  # fmt: skip
"""System paths that no dataset may be mounted over."""

_JOB_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNTIDY = re.compile(r"//|/\.\.?(?:/|\Z)|[^/]/\Z")
"""Matches an empty part of a path, `.` or `..`, and a slash at its end."""
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")

_argument = text(MAX_ARGUMENT_CHARACTERS)
_path = line(4096)


class InvalidSubmission(Exception):
    def __init__(self, violations: list[Violation]) -> None:
        super().__init__("; ".join(f"{v.field}: {v.rule}" for v in violations))
        self.violations = violations


@dataclass(frozen=True, slots=True)
class Defaults:
    """The server's defaults for fields that a request leaves out."""

    image: str
    command: tuple[str, ...]
    limits: TaskLimits
    max_retries: int


@dataclass(frozen=True, slots=True)
class SubmissionRules:
    """Limits of requests, by the settings."""

    defaults: Defaults
    dataset_schemes: tuple[str, ...] = dataset.SCHEMES
    dataset_addresses: AddressRules = PUBLIC_ADDRESSES
    allow_images: tuple[str, ...] = images.ANY
    slurm_allow: tuple[str, ...] | None = None
    """Parameters of Slurm that a request may have; `None` if tasks do not run on Slurm."""
    slurm_users: Collection[str] | None = None
    """Users who may submit; `None` if all may."""
    notify_addresses: AddressRules | None = PUBLIC_ADDRESSES
    """`None` if the server sends no notifications."""
    volumes: Mapping[str, Volume] = field(default_factory=dict[str, Volume])
    """By name."""
    allow_may_idle: bool = True


class Accepted(NamedTuple):
    """A valid task, and the bytes of memory that it takes (`core.footprint`)."""

    spec: TaskSpec
    footprint: int


def accept(
    request: Mapping[str, object],
    rules: SubmissionRules,
    capacity: Resources,
    project: ProjectFile = NO_PROJECT,
) -> Accepted:
    """Return the task of a request. Raises InvalidSubmission with every violation.

    Fields that the request leaves out come from the snapshot's fetchml.toml (`project`), then from
    the server's defaults, except for those of `grants`; the default image is always allowed.
    Unknown properties are ignored (reading 12).
    """
    defaults = rules.defaults
    fields, violations = check_fields(request, _RULES, required=("job_name",))
    left_out = cast("list[str]", fields.pop("without", []))
    violations += project.faults
    if project.fields:
        violations += project_file.grant_violations(project, request, left_out)
        settings = {n: each for n, each in project.fields.items() if n not in project_file.GRANTED}
        project = replace(project, fields=settings)
        fields = {**project.fields, **fields}
        if request.get("checkpoint") is False and "checkpoint_from" not in request:
            fields.pop("checkpoint_from", None)
    limits = defaults.limits
    beyond = resource_violations(fields, capacity, limits)
    if limits.max_timeout_seconds:
        beyond += timeout_violations(fields, limits)
    if beyond:
        violations += [project.placed(found, request) for found in beyond]
    named = fields.get("image")
    is_default = named == defaults.image
    if (
        isinstance(named, str)
        and not is_default
        and (refusal := images.fault(named, rules.allow_images))
    ):
        violations.append(project.placed(Violation("image", refusal), request))
    is_plain = _PLAIN.issuperset(fields)
    if not is_plain:
        violations += [
            *_slurm_violations(request, project, fields, rules.slurm_allow),
            *_idle_violations(request, project, fields, allow=rules.allow_may_idle),
        ]
    if violations:
        raise InvalidSubmission(violations)
    if project.fields:
        for name in _MERGED.intersection(project.fields):
            fields[name] = {**project.fields[name], **fields[name]}  # type: ignore[dict-item]
    if not is_plain:
        _read_structures(fields)
    fields.setdefault("image", defaults.image)
    fields.setdefault("command", defaults.command)
    fields.setdefault("max_retries", defaults.max_retries)
    if limits.cpu or limits.memory_gb:
        fields.update(limits.filled(fields))
    fields["timeout_seconds"] = limits.timeout(fields)
    if not is_plain and ("checkpoint_from" in fields or "warn_seconds" in fields):
        if wrong_pairs := checkpoint_violations(fields):
            raise InvalidSubmission([project.placed(found, request) for found in wrong_pairs])
        fields["checkpoint"] = fields.get("checkpoint", False) or "checkpoint_from" in fields
    spec = TaskSpec(**fields)  # type: ignore[arg-type]
    encoded = encode_spec(spec)
    if rule := size_fault(encoded):
        longest = max(fields, key=lambda name: len(encode_spec(fields[name])))
        raise InvalidSubmission([project.placed(Violation(longest, rule), request)])
    if spec.dataset_specs and (wrong := _datasets_fault(spec, rules)):
        raise InvalidSubmission([Violation("dataset_specs", wrong)])
    if spec.notify:
        _check_targets(spec.notify, request, project, rules.notify_addresses)
    return Accepted(spec, footprint(encoded))


def _check_targets(
    notify: Sequence[NotifyTarget],
    request: Mapping[str, object],
    project: ProjectFile,
    addresses: AddressRules | None,
) -> None:
    """Raises InvalidSubmission."""
    if fault := address_fault(notify, addresses):
        raise InvalidSubmission([project.placed(Violation("notify", fault), request)])


def _read_structures(fields: dict[str, object]) -> None:
    """Replace objects of the request by values. Raises InvalidSubmission."""
    if "secrets" in fields:
        uses = msgspec.convert(fields["secrets"], tuple[SecretUse, ...])
        fields["secrets"] = uses or None
        if clash := secrets.env_fault(uses, cast("Mapping[str, str]", fields.get("env", {}))):
            raise InvalidSubmission([Violation("secrets", clash)])
    if "dataset_specs" in fields:
        fields["dataset_specs"] = msgspec.convert(fields["dataset_specs"], tuple[DatasetSpec, ...])
    if "notify" in fields:
        fields["notify"] = notifications.read(fields["notify"]) or None
    if "environment" in fields:
        found = msgspec.convert(fields["environment"], Environment)
        if found.source is not None and "snapshot_id" not in fields:
            raise InvalidSubmission([Violation("environment", environment.NO_SNAPSHOT)])
        fields["environment"] = None if found.source is None else found
    for name in ("command", "datasets", "volumes"):
        if name in fields:
            fields[name] = tuple(fields[name]) or None  # type: ignore[arg-type]
    if "after" in fields:
        fields["after"] = dependencies.read(fields["after"])
    if inputs := fields.pop("inputs_from", None):
        fields["inputs_from"] = tuple(inputs)  # type: ignore[arg-type]
        fields["after"] = dependencies.with_inputs(fields.get("after"), fields["inputs_from"])  # type: ignore[arg-type]
    if "start_after" in fields:
        # The epoch takes away the time that fetchml.toml sets.
        fields["start_after"] = milliseconds(fields["start_after"]) or None  # type: ignore[arg-type]


def _datasets_fault(spec: TaskSpec, rules: SubmissionRules) -> str | None:
    specs = spec.dataset_specs or ()
    if spec.inputs_from and any(_is_input_place(each.mount_path) for each in specs):
        return "must not lie in /inputs, where the outputs of other tasks are (inputs_from)"
    datasets = spec.datasets or ()
    return dataset.fault(specs, datasets, rules.dataset_schemes, rules.dataset_addresses)


def _is_input_place(path: str | None) -> bool:
    return path is not None and (path == "/inputs" or path.startswith("/inputs/"))


def _slurm_violations(
    request: Mapping[str, object],
    project: ProjectFile,
    fields: Mapping[str, object],
    allow: Sequence[str] | None,
) -> list[Violation]:
    gpu = fields.get("gpu")
    for given in (request.get("slurm"), project.fields.get("slurm")):
        if isinstance(given, dict) and slurm.check(given) is None:
            count = gpu if isinstance(gpu, int) else 0
            if fault := slurm.fault(given, count, allow):
                found = Violation("slurm", fault)
                return [found if given is request.get("slurm") else project.violation(*found)]
    return []


def _idle_violations(
    request: Mapping[str, object],
    project: ProjectFile,
    fields: Mapping[str, object],
    *,
    allow: bool,
) -> list[Violation]:
    if allow or not fields.get("may_idle"):
        return []
    found = Violation("may_idle", "is not allowed on this server ([gpu] may_idle)")
    return [project.placed(found, request)]


def read_project(text: str, release: str) -> ParsedFile:
    """Parse a fetchml.toml; slow. `release`: this one."""
    return project_file.read(text, PROJECT_RULES, KNOWN_FIELDS, release)


def _args(value: object) -> str | None:
    wrong = _argument(value)
    if wrong is not None:
        return wrong
    fault = shell_words.fault(str(value))
    return f"can't be split as a shell would: {fault}" if fault else None


def _variable_name(name: object) -> str | None:
    if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
        return "must be a name of letters, digits and _"
    return "must not begin with FETCHML_" if name.startswith("FETCHML_") else None


def _mount_path(value: object) -> str | None:
    wrong = _path(value)
    if wrong is not None:
        return wrong
    path = str(value)
    if not path.startswith("/") or _UNTIDY.search(path):
        return "must be an absolute path without . or .. parts"
    if path == dataset.PLACE:
        return f"must not be {path} itself: name a folder in it"
    if path == "/" or any(path == p or path.startswith(p + "/") for p in SYSTEM_PATHS):
        return "must not lie over a system path"
    return None


_DATASET_FIELDS: dict[str, Check] = {
    "name": matching(dataset.NAME, dataset.MAX_NAME, "must be letters, digits and . _ -"),
    "source": line(4096, empty=False),
    "sha256": matching(_SHA256, 64, "must be 64 hexadecimal digits"),
    "mount_path": _mount_path,
}


def _dataset_spec(value: object) -> str | None:
    if not isinstance(value, dict):
        return "must be an object"
    if len(value) > MAX_ENTRIES:
        return f"must not have more than {MAX_ENTRIES} properties"
    for name, entry in value.items():
        check = _DATASET_FIELDS.get(name)
        if check is None:
            continue
        wrong = NULL if entry is None else check(entry)
        if wrong is not None:
            return f"{name} {wrong}"
    return None


priority_fault = integer(1, 10)
timeout_fault = integer(0, MAX_INT // 1000)
metadata_fault = strings(line(256), MAX_METADATA_CHARACTERS, MAX_METADATA_CHARACTERS)

_RULES: dict[str, Check] = {
    "job_name": matching(_JOB_NAME, 64, "must be letters, digits, _ and - only"),
    "priority": priority_fault,
    "args": _args,
    "snapshot_id": line(256, empty=False),
    "datasets": list_of(_DATASET_FIELDS["name"]),
    "dataset_specs": list_of(_dataset_spec),
    "cpu": integer(0, MAX_INT),
    "memory_gb": integer(0, MAX_INT),
    "gpu": integer(0, MAX_INT),
    "metadata": metadata_fault,
    "image": image,
    "command": list_of(_argument, empty=False),
    "env": strings(_variable_name, MAX_ARGUMENT_CHARACTERS, MAX_REQUEST_BYTES),
    "timeout_seconds": timeout_fault,
    "max_retries": integer(0, MAX_RETRIES),
    "experiment_id": line(256, empty=False),
    "preemptible": boolean,
    "checkpoint": boolean,
    "checkpoint_from": line(64, empty=False),
    "volumes": volumes.rule,
    "secrets": secrets.rule,
    "warn_seconds": integer(0, MAX_WARN_SECONDS),
    "after": dependencies.fault,
    "inputs_from": dependencies.inputs_fault,
    "start_after": time_fault,
    "hold": boolean,
    "may_idle": boolean,
    "slurm": slurm.check,
    "environment": environment.fault,
    "notify": notifications.fault,
    "without": project_file.without_fault,
}

PROJECT_RULES = {
    name: _RULES[name]
    for name in (
        "image", "command", "cpu", "memory_gb", "gpu", "timeout_seconds", "max_retries",
        "preemptible", "env", "checkpoint", "warn_seconds", "slurm", "environment",
        "volumes", "secrets", "may_idle", "notify", "after", "inputs_from", "checkpoint_from",
        "start_after", "hold",
    )
}  # fmt: skip
"""Fields that fetchml.toml may set. The others belong to one task."""

_MERGED = frozenset({"env", "slurm"})
"""Fields whose entries in fetchml.toml stay unless the request has them too."""

_PLAIN = frozenset(
    {
        "job_name", "priority", "args", "snapshot_id", "experiment_id", "cpu", "memory_gb", "gpu",
        "metadata", "image", "env", "timeout_seconds", "max_retries", "preemptible",
    }
)  # fmt: skip
"""Fields that need no more than their own rule. One that is missing here costs time only."""

KNOWN_FIELDS = frozenset(_RULES)
"""Known request properties. Others are ignored and named in the reply's header (reading 12)."""


def field_fault(name: str, value: object) -> str | None:
    """The fault of one field's value; `None` if it is valid."""
    return _RULES[name](value)


def size_fault(encoded: bytes) -> str | None:
    """Return why the longest field of a request must be shorter; `None` if the request fits.
    `encoded`: its specification."""
    if len(encoded) <= MAX_REQUEST_BYTES:
        return None
    return f"must be shorter: the request must not exceed {MAX_REQUEST_BYTES} bytes in all"
