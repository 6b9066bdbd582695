"""Create requests: their fields, and the task that a request asks for (the contract's
CreateTaskRequest, readings 4 to 12 and 24).

A request is a parsed JSON object; gRPC requests are converted to the same shape. The rules of its
fields are the annotations of `TaskRequest`. `accept` fills in defaults and applies the rules that
depend on settings, the host, or several fields.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from fetchml.core.addresses import PUBLIC_ADDRESSES, AddressRules
from fetchml.core.dependencies import request as dependencies
from fetchml.core.environments import NO_SNAPSHOT, EnvironmentRequest
from fetchml.core.footprint import encode_spec, footprint
from fetchml.core.model import Resources, SecretUse, Task, TaskSpec, Value
from fetchml.core.notifications import NotifyRequests, address_fault, targets_of
from fetchml.core.requests import dataset, images, project_file, secrets, shell_words, slurm
from fetchml.core.requests.checks import (
    MAX_INT,
    MAX_ITEMS,
    Amount,
    Id,
    Time,
    Violation,
    also,
    described,
    labels,
    line,
    milliseconds,
    read,
    rules_of,
    text_fault,
)
from fetchml.core.requests.project_file import GRANTED, NO_PROJECT, ProjectFile
from fetchml.core.requests.secrets import SecretRequests
from fetchml.core.requests.slurm import SlurmParameters
from fetchml.core.requests.volumes import Volume, VolumeNames
from fetchml.core.scheduling.resources import excess
from fetchml.core.snapshots import ParsedFile

MAX_ARGUMENT_CHARACTERS = 32 * 1024 - 1
"""Linux accepts 128 KiB for one argument; a character may need four bytes."""
MAX_REQUEST_BYTES = 256 * 1024
"""Size of a stored request as JSON: the store reads 128 tasks at once into memory."""
MAX_RETRIES = 100
MAX_METADATA_CHARACTERS = 64 * 1024
MAX_WARN_SECONDS = 600
"""A preempted task may keep the resources of a more urgent one for so long."""


def _args_fault(value: str) -> str | None:
    if wrong := text_fault(value):
        return wrong
    fault = shell_words.fault(value)
    return f"can't be split as a shell would: {fault}" if fault else None


def _variable_name(name: str) -> str | None:
    return "must not begin with FETCHML_" if name.startswith("FETCHML_") else None


def image_fault(value: str) -> str | None:
    if wrong := text_fault(value):
        return wrong
    readable = value.isprintable() and " " not in value
    return None if readable else "must be an image name without spaces"


Arguments = Annotated[str, Meta(max_length=MAX_ARGUMENT_CHARACTERS, extra=also(_args_fault))]
Argument = Annotated[str, Meta(max_length=MAX_ARGUMENT_CHARACTERS)]
Image = Annotated[str, Meta(min_length=1, max_length=512, extra=also(image_fault))]
Labels = Annotated[
    dict[
        Annotated[str, Meta(max_length=256, extra=also(line))],
        Annotated[str, Meta(max_length=MAX_METADATA_CHARACTERS)],
    ],
    Meta(max_length=MAX_ITEMS, extra=labels(MAX_METADATA_CHARACTERS)),
]
Priority = Annotated[int, Meta(ge=1, le=10)]
Seconds = Annotated[int, Meta(ge=0, le=MAX_INT // 1000)]
Variables = Annotated[
    dict[
        Annotated[
            str,
            Meta(
                max_length=MAX_ARGUMENT_CHARACTERS,
                pattern=r"\A[A-Za-z_][A-Za-z0-9_]*\Z",
                extra={
                    **described("must be a name of letters, digits and _"),
                    **also(_variable_name),
                },
            ),
        ],
        Argument,
    ],
    Meta(max_length=MAX_ITEMS, extra=labels(MAX_REQUEST_BYTES)),
]


class TaskRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Fields of a create request, as `TaskSpec` explains them. `None`: not in the request."""

    job_name: Annotated[
        str,
        Meta(
            max_length=64,
            pattern=r"\A[a-zA-Z0-9_-]+\Z",
            extra=described("must be letters, digits, _ and - only"),
        ),
    ]
    priority: Priority = 5
    args: Arguments | None = None
    snapshot_id: Id | None = None
    datasets: Annotated[tuple[dataset.DatasetName, ...], Meta(max_length=MAX_ITEMS)] = ()
    dataset_specs: Annotated[tuple[dataset.DatasetRequest, ...], Meta(max_length=MAX_ITEMS)] = ()
    cpu: Amount | None = None
    memory_gb: Amount | None = None
    gpu: Amount | None = None
    metadata: Labels | None = None
    image: Image | None = None
    command: Annotated[tuple[Argument, ...], Meta(min_length=1, max_length=MAX_ITEMS)] | None = None
    env: Variables | None = None
    timeout_seconds: Seconds | None = None
    max_retries: Annotated[int, Meta(ge=0, le=MAX_RETRIES)] | None = None
    experiment_id: Id | None = None
    preemptible: bool = False
    checkpoint: bool | None = None
    checkpoint_from: Annotated[str, Meta(min_length=1, max_length=64, extra=also(line))] | None = (
        None
    )
    volumes: VolumeNames = ()
    secrets: SecretRequests = ()
    warn_seconds: Annotated[int, Meta(ge=0, le=MAX_WARN_SECONDS)] = 0
    after: dependencies.AfterRequests = ()
    inputs_from: dependencies.Inputs = ()
    start_after: Time | None = None
    """The epoch takes away the time that fetchml.toml sets."""
    hold: bool = False
    may_idle: bool = False
    slurm: SlurmParameters | None = None
    environment: EnvironmentRequest | None = None
    notify: NotifyRequests = ()
    without: Annotated[tuple[project_file.Grant, ...], Meta(max_length=MAX_ITEMS)] = ()
    """Entries of fetchml.toml that the task leaves out."""


KNOWN_FIELDS = frozenset(TaskRequest.__struct_fields__)
"""Known request properties. Others are ignored and named in the reply's header (reading 12)."""

_COMMON_FIELDS = frozenset((
    "job_name", "image", "command", "priority", "args", "snapshot_id", "cpu", "memory_gb", "gpu",
    "metadata", "env", "experiment_id", "timeout_seconds", "max_retries", "preemptible",
))  # fmt: skip
"""Most requests have no other field."""

PROJECT_RULES = {
    name: rules_of(TaskRequest)[name].fault
    for name in (
        "image", "command", "cpu", "memory_gb", "gpu", "timeout_seconds", "max_retries",
        "preemptible", "env", "checkpoint", "warn_seconds", "slurm", "environment",
        "volumes", "secrets", "may_idle", "notify", "after", "inputs_from", "checkpoint_from",
        "start_after", "hold",
    )
}  # fmt: skip
"""Fields that fetchml.toml may set. The others belong to one task."""

_MERGED = ("env", "slurm")
"""Fields whose entries in fetchml.toml stay unless the request has them too."""


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

    def cpu_of(self, asked: int | None) -> int | None:
        """Cores of a request, with the default filled in."""
        return asked or min(self.cpu, self.max_cpu or self.cpu) or asked

    def memory_of(self, asked: int | None) -> int | None:
        """Memory of a request, with the default filled in."""
        return asked or min(self.memory_gb, self.max_memory_gb or self.memory_gb) or asked

    def timeout(self, asked: int | None) -> int:
        """Time limit of a valid request."""
        seconds, most = self.timeout_seconds if asked is None else asked, self.max_timeout_seconds
        return min(seconds or most, most) if most else seconds


class Amounts(Protocol):
    """A request for resources. `None`: not in the request."""

    @property
    def cpu(self) -> int | None: ...
    @property
    def memory_gb(self) -> int | None: ...
    @property
    def gpu(self) -> int | None: ...


def resource_violations(asked: Amounts, capacity: Resources, limits: TaskLimits) -> list[Violation]:
    """Return the violations of a request for more than the host has or a task may have."""
    violations = []
    for name, amount, has, may in (
        ("cpu", asked.cpu, capacity.cpu, limits.max_cpu),
        ("memory_gb", asked.memory_gb, capacity.memory_gb, limits.max_memory_gb),
        ("gpu", asked.gpu, capacity.gpu, 0),
    ):
        if not amount:
            continue
        if fault := excess(amount, has):
            violations.append(Violation(name, fault))
        elif may and amount > may:
            rule = f"asks for {amount}, a task may have {may} ([tasks] max_{name})"
            violations.append(Violation(name, rule))
    return violations


def timeout_violations(asked: int | None, limits: TaskLimits) -> list[Violation]:
    """Return the violation of a request for more time than a task may have."""
    most = limits.max_timeout_seconds
    if not most or asked is None or 0 < asked <= most:
        return []
    what = f"asks for {asked}" if asked else "asks for no limit"
    rule = f"{what}, a task may run for {most} s ([tasks] max_timeout_seconds)"
    return [Violation("timeout_seconds", rule)]


def checkpoint_source_fault(source: Task | None) -> str | None:
    """Return why a task can't begin with the checkpoint of `source`; `None` if it can, or may be
    able to when it starts. `source`: `None` if there is no such task that the user may see."""
    if source is None:
        return "task not found"
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


class Accepted(Value, frozen=True):
    """A valid task, and the bytes of memory that it takes (`core.footprint`)."""

    spec: TaskSpec
    footprint: int


def accept(
    request: Mapping[str, object],
    rules: SubmissionRules,
    capacity: Resources,
    project: ProjectFile = NO_PROJECT,
) -> Accepted:
    """Return the task of a request. Raises InvalidSubmission with every violation of the fields, or
    else of the rules on several fields and of the server's limits.

    Fields that the request leaves out come from the snapshot's fetchml.toml (`project`), then from
    the server's defaults, except for those that the request has to grant; the default image is
    always allowed. Unknown properties are ignored (reading 12).
    """
    whole = _with_project(request, project)
    asked, violations = read(whole, TaskRequest)
    violations += project.faults
    if asked is not None and project.fields:
        violations += project_file.grant_violations(project, request, asked.without)
    if asked is None or violations:
        raise InvalidSubmission([project.placed(each, request) for each in violations])
    if violations := _violations(asked, rules, capacity):
        raise InvalidSubmission([project.placed(each, request) for each in violations])
    spec = _task_spec(asked, whole, rules.defaults)
    encoded = encode_spec(spec)
    if rule := size_fault(encoded):
        names = KNOWN_FIELDS.intersection(spec.__struct_fields__)
        longest = max(names, key=lambda name: len(encode_spec(getattr(spec, name))))
        raise InvalidSubmission([project.placed(Violation(longest, rule), request)])
    return Accepted(spec, footprint(encoded))


def _with_project(request: Mapping[str, object], project: ProjectFile) -> Mapping[str, object]:
    """Return the request with the settings of fetchml.toml in place of fields that it leaves
    out."""
    if not project.fields:
        return request
    merged = {name: each for name, each in project.fields.items() if name not in GRANTED}
    if request.get("checkpoint") is False and "checkpoint_from" not in request:
        merged.pop("checkpoint_from", None)
    for name, each in request.items():
        before = merged.get(name) if name in _MERGED else None
        both = isinstance(each, dict) and isinstance(before, dict)
        merged[name] = {**before, **each} if both else each  # type: ignore[dict-item]
    return merged


def _violations(asked: TaskRequest, rules: SubmissionRules, capacity: Resources) -> list[Violation]:
    """Return the violations of the server's limits, and of fields that don't fit each other."""
    limits = rules.defaults.limits
    violations = resource_violations(asked, capacity, limits)
    violations += timeout_violations(asked.timeout_seconds, limits)
    image, warn, limit = asked.image, asked.warn_seconds, asked.timeout_seconds
    is_named = image is not None and image != rules.defaults.image
    if is_named and (fault := images.fault(image or "", rules.allow_images)):
        violations.append(Violation("image", fault))
    if asked.slurm and (fault := slurm.fault(asked.slurm, asked.gpu or 0, rules.slurm_allow)):
        violations.append(Violation("slurm", fault))
    if asked.may_idle and not rules.allow_may_idle:
        rule = "is not allowed on this server ([gpu] may_idle)"
        violations.append(Violation("may_idle", rule))
    if asked.checkpoint_from is not None and asked.checkpoint is False:
        violations.append(
            Violation("checkpoint_from", "needs a checkpoint: leave out checkpoint=false")
        )
    if limit and limit <= warn:
        rule = f"must be less than timeout_seconds, which is {limit}"
        violations.append(Violation("warn_seconds", rule))
    if asked.secrets and (fault := secrets.env_fault(asked.secrets, asked.env or ())):
        violations.append(Violation("secrets", fault))
    if asked.dataset_specs and (fault := _datasets_fault(asked, rules)):
        violations.append(Violation("dataset_specs", fault))
    if asked.notify and (fault := address_fault(asked.notify, rules.notify_addresses)):
        violations.append(Violation("notify", fault))
    if asked.environment is not None and asked.environment.source and asked.snapshot_id is None:
        violations.append(Violation("environment", NO_SNAPSHOT))
    return violations


def _task_spec(asked: TaskRequest, request: Mapping[str, object], defaults: Defaults) -> TaskSpec:
    limits = defaults.limits
    spec = TaskSpec(
        job_name=asked.job_name,
        image=asked.image or defaults.image,
        command=asked.command or defaults.command,
        priority=asked.priority,
        args=asked.args,
        snapshot_id=asked.snapshot_id,
        cpu=limits.cpu_of(asked.cpu),
        memory_gb=limits.memory_of(asked.memory_gb),
        gpu=asked.gpu,
        metadata=asked.metadata,
        env=asked.env,
        experiment_id=asked.experiment_id,
        timeout_seconds=limits.timeout(asked.timeout_seconds),
        max_retries=defaults.max_retries if asked.max_retries is None else asked.max_retries,
        preemptible=asked.preemptible,
    )
    if _COMMON_FIELDS.issuperset(request):
        return spec
    environment = asked.environment
    return replace(
        spec,
        datasets=asked.datasets or None,
        dataset_specs=tuple([each.spec for each in asked.dataset_specs]) or None,
        checkpoint=asked.checkpoint or asked.checkpoint_from is not None,
        checkpoint_from=asked.checkpoint_from,
        volumes=asked.volumes or None,
        secrets=tuple([SecretUse(each.name, each.form) for each in asked.secrets]) or None,
        warn_seconds=asked.warn_seconds,
        start_after=milliseconds(asked.start_after) or None if asked.start_after else None,
        after=dependencies.read(asked.after, asked.inputs_from) or None,
        inputs_from=asked.inputs_from or None,
        hold=asked.hold,
        slurm=asked.slurm,
        environment=environment if environment is not None and environment.source else None,
        may_idle=asked.may_idle,
        notify=targets_of(asked.notify) or None,
    )


def _datasets_fault(asked: TaskRequest, rules: SubmissionRules) -> str | None:
    specs = [each.spec for each in asked.dataset_specs]
    if asked.inputs_from and any(_is_in_inputs(each.mount_path) for each in specs):
        return "must not lie in /inputs, where the outputs of other tasks are (inputs_from)"
    return dataset.fault(specs, asked.datasets, rules.dataset_schemes, rules.dataset_addresses)


def _is_in_inputs(path: str | None) -> bool:
    return path is not None and (path == "/inputs" or path.startswith("/inputs/"))


def read_project(text: str, release: str) -> ParsedFile:
    """Parse a fetchml.toml; slow. `release`: this one."""
    return project_file.read(text, PROJECT_RULES, KNOWN_FIELDS, release)


def field_fault(name: str, value: object) -> str | None:
    """The fault of one field's value; `None` if it is valid."""
    return rules_of(TaskRequest)[name].fault(value)


def size_fault(encoded: bytes) -> str | None:
    """Return why the longest field of a request must be shorter; `None` if the request fits.
    `encoded`: its specification."""
    if len(encoded) <= MAX_REQUEST_BYTES:
        return None
    return f"must be shorter: the request must not exceed {MAX_REQUEST_BYTES} bytes in all"
