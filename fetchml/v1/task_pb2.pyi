import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class View(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VIEW_UNSPECIFIED: _ClassVar[View]
    BASIC: _ClassVar[View]
    FULL: _ClassVar[View]
VIEW_UNSPECIFIED: View
BASIC: View
FULL: View

class Task(_message.Message):
    __slots__ = ("id", "job_name", "status", "priority", "created_at", "started_at", "ended_at", "worker_id", "error", "output", "snapshot_id", "datasets", "cpu", "memory_gb", "gpu", "user_id", "retry_count", "max_retries", "exit_code", "failure_reason", "image", "command", "args", "env_names", "metadata", "experiment_id", "dataset_specs", "timeout_seconds", "attempt", "progress", "not_before", "cancel_requested_at", "cancel_requested_by", "gpu_uuids", "ahead", "infra_retries", "preemptible", "preempted", "note", "start_estimate", "sweep_id", "sweep_index", "parameters", "checkpoint", "checkpoint_from", "warn_seconds", "volumes", "secrets", "after", "inputs_from", "start_after", "held", "slurm", "environment", "idle_since", "may_idle", "notify", "begun_at", "allocated_at", "exited_at", "earlier_attempts", "ran_with", "rerun_of")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        status_unspecified: _ClassVar[Task.Status]
        queued: _ClassVar[Task.Status]
        preparing: _ClassVar[Task.Status]
        running: _ClassVar[Task.Status]
        collecting: _ClassVar[Task.Status]
        completed: _ClassVar[Task.Status]
        failed: _ClassVar[Task.Status]
    status_unspecified: Task.Status
    queued: Task.Status
    preparing: Task.Status
    running: Task.Status
    collecting: Task.Status
    completed: Task.Status
    failed: Task.Status
    class FailureReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FAILURE_REASON_UNSPECIFIED: _ClassVar[Task.FailureReason]
        EXIT_CODE: _ClassVar[Task.FailureReason]
        SIGNAL: _ClassVar[Task.FailureReason]
        OUT_OF_MEMORY: _ClassVar[Task.FailureReason]
        TIMEOUT: _ClassVar[Task.FailureReason]
        CANCELLED: _ClassVar[Task.FailureReason]
        PREPARE_FAILED: _ClassVar[Task.FailureReason]
        START_FAILED: _ClassVar[Task.FailureReason]
        LOST: _ClassVar[Task.FailureReason]
        COLLECT_FAILED: _ClassVar[Task.FailureReason]
        DEPENDENCY_FAILED: _ClassVar[Task.FailureReason]
        IDLE: _ClassVar[Task.FailureReason]
    FAILURE_REASON_UNSPECIFIED: Task.FailureReason
    EXIT_CODE: Task.FailureReason
    SIGNAL: Task.FailureReason
    OUT_OF_MEMORY: Task.FailureReason
    TIMEOUT: Task.FailureReason
    CANCELLED: Task.FailureReason
    PREPARE_FAILED: Task.FailureReason
    START_FAILED: Task.FailureReason
    LOST: Task.FailureReason
    COLLECT_FAILED: Task.FailureReason
    DEPENDENCY_FAILED: Task.FailureReason
    IDLE: Task.FailureReason
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class SlurmEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    JOB_NAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    MEMORY_GB_FIELD_NUMBER: _ClassVar[int]
    GPU_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    RETRY_COUNT_FIELD_NUMBER: _ClassVar[int]
    MAX_RETRIES_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    FAILURE_REASON_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    ENV_NAMES_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    DATASET_SPECS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REQUESTED_AT_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REQUESTED_BY_FIELD_NUMBER: _ClassVar[int]
    GPU_UUIDS_FIELD_NUMBER: _ClassVar[int]
    AHEAD_FIELD_NUMBER: _ClassVar[int]
    INFRA_RETRIES_FIELD_NUMBER: _ClassVar[int]
    PREEMPTIBLE_FIELD_NUMBER: _ClassVar[int]
    PREEMPTED_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    START_ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    SWEEP_ID_FIELD_NUMBER: _ClassVar[int]
    SWEEP_INDEX_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FROM_FIELD_NUMBER: _ClassVar[int]
    WARN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    VOLUMES_FIELD_NUMBER: _ClassVar[int]
    SECRETS_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FROM_FIELD_NUMBER: _ClassVar[int]
    START_AFTER_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    SLURM_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    IDLE_SINCE_FIELD_NUMBER: _ClassVar[int]
    MAY_IDLE_FIELD_NUMBER: _ClassVar[int]
    NOTIFY_FIELD_NUMBER: _ClassVar[int]
    BEGUN_AT_FIELD_NUMBER: _ClassVar[int]
    ALLOCATED_AT_FIELD_NUMBER: _ClassVar[int]
    EXITED_AT_FIELD_NUMBER: _ClassVar[int]
    EARLIER_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    RAN_WITH_FIELD_NUMBER: _ClassVar[int]
    RERUN_OF_FIELD_NUMBER: _ClassVar[int]
    id: str
    job_name: str
    status: Task.Status
    priority: int
    created_at: _timestamp_pb2.Timestamp
    started_at: _timestamp_pb2.Timestamp
    ended_at: _timestamp_pb2.Timestamp
    worker_id: str
    error: str
    output: str
    snapshot_id: str
    datasets: _containers.RepeatedScalarFieldContainer[str]
    cpu: int
    memory_gb: int
    gpu: int
    user_id: str
    retry_count: int
    max_retries: int
    exit_code: int
    failure_reason: Task.FailureReason
    image: str
    command: _containers.RepeatedScalarFieldContainer[str]
    args: str
    env_names: _containers.RepeatedScalarFieldContainer[str]
    metadata: _containers.ScalarMap[str, str]
    experiment_id: str
    dataset_specs: _containers.RepeatedCompositeFieldContainer[DatasetSpec]
    timeout_seconds: int
    attempt: int
    progress: str
    not_before: _timestamp_pb2.Timestamp
    cancel_requested_at: _timestamp_pb2.Timestamp
    cancel_requested_by: str
    gpu_uuids: _containers.RepeatedScalarFieldContainer[str]
    ahead: bool
    infra_retries: int
    preemptible: bool
    preempted: int
    note: str
    start_estimate: TaskExplanation.StartEstimate
    sweep_id: str
    sweep_index: int
    parameters: _containers.ScalarMap[str, str]
    checkpoint: bool
    checkpoint_from: str
    warn_seconds: int
    volumes: _containers.RepeatedScalarFieldContainer[str]
    secrets: _containers.RepeatedCompositeFieldContainer[SecretUse]
    after: _containers.RepeatedCompositeFieldContainer[Dependency]
    inputs_from: _containers.RepeatedScalarFieldContainer[str]
    start_after: _timestamp_pb2.Timestamp
    held: bool
    slurm: _containers.ScalarMap[str, str]
    environment: Environment
    idle_since: _timestamp_pb2.Timestamp
    may_idle: bool
    notify: _containers.RepeatedCompositeFieldContainer[NotifyTarget]
    begun_at: _timestamp_pb2.Timestamp
    allocated_at: _timestamp_pb2.Timestamp
    exited_at: _timestamp_pb2.Timestamp
    earlier_attempts: _containers.RepeatedCompositeFieldContainer[TaskAttempt]
    ran_with: RanWith
    rerun_of: str
    def __init__(self, id: _Optional[str] = ..., job_name: _Optional[str] = ..., status: _Optional[_Union[Task.Status, str]] = ..., priority: _Optional[int] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ended_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., worker_id: _Optional[str] = ..., error: _Optional[str] = ..., output: _Optional[str] = ..., snapshot_id: _Optional[str] = ..., datasets: _Optional[_Iterable[str]] = ..., cpu: _Optional[int] = ..., memory_gb: _Optional[int] = ..., gpu: _Optional[int] = ..., user_id: _Optional[str] = ..., retry_count: _Optional[int] = ..., max_retries: _Optional[int] = ..., exit_code: _Optional[int] = ..., failure_reason: _Optional[_Union[Task.FailureReason, str]] = ..., image: _Optional[str] = ..., command: _Optional[_Iterable[str]] = ..., args: _Optional[str] = ..., env_names: _Optional[_Iterable[str]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., experiment_id: _Optional[str] = ..., dataset_specs: _Optional[_Iterable[_Union[DatasetSpec, _Mapping]]] = ..., timeout_seconds: _Optional[int] = ..., attempt: _Optional[int] = ..., progress: _Optional[str] = ..., not_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., cancel_requested_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., cancel_requested_by: _Optional[str] = ..., gpu_uuids: _Optional[_Iterable[str]] = ..., ahead: _Optional[bool] = ..., infra_retries: _Optional[int] = ..., preemptible: _Optional[bool] = ..., preempted: _Optional[int] = ..., note: _Optional[str] = ..., start_estimate: _Optional[_Union[TaskExplanation.StartEstimate, _Mapping]] = ..., sweep_id: _Optional[str] = ..., sweep_index: _Optional[int] = ..., parameters: _Optional[_Mapping[str, str]] = ..., checkpoint: _Optional[bool] = ..., checkpoint_from: _Optional[str] = ..., warn_seconds: _Optional[int] = ..., volumes: _Optional[_Iterable[str]] = ..., secrets: _Optional[_Iterable[_Union[SecretUse, _Mapping]]] = ..., after: _Optional[_Iterable[_Union[Dependency, _Mapping]]] = ..., inputs_from: _Optional[_Iterable[str]] = ..., start_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., held: _Optional[bool] = ..., slurm: _Optional[_Mapping[str, str]] = ..., environment: _Optional[_Union[Environment, _Mapping]] = ..., idle_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., may_idle: _Optional[bool] = ..., notify: _Optional[_Iterable[_Union[NotifyTarget, _Mapping]]] = ..., begun_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., allocated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., exited_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., earlier_attempts: _Optional[_Iterable[_Union[TaskAttempt, _Mapping]]] = ..., ran_with: _Optional[_Union[RanWith, _Mapping]] = ..., rerun_of: _Optional[str] = ...) -> None: ...

class RanWith(_message.Message):
    __slots__ = ("attempt", "host", "kernel", "release", "image_id", "image_digest", "environment", "datasets", "gpus", "driver", "cuda")
    class Dataset(_message.Message):
        __slots__ = ("name", "sha256", "listing")
        NAME_FIELD_NUMBER: _ClassVar[int]
        SHA256_FIELD_NUMBER: _ClassVar[int]
        LISTING_FIELD_NUMBER: _ClassVar[int]
        name: str
        sha256: str
        listing: str
        def __init__(self, name: _Optional[str] = ..., sha256: _Optional[str] = ..., listing: _Optional[str] = ...) -> None: ...
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    KERNEL_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    DRIVER_FIELD_NUMBER: _ClassVar[int]
    CUDA_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    host: str
    kernel: str
    release: str
    image_id: str
    image_digest: str
    environment: str
    datasets: _containers.RepeatedCompositeFieldContainer[RanWith.Dataset]
    gpus: _containers.RepeatedScalarFieldContainer[str]
    driver: str
    cuda: str
    def __init__(self, attempt: _Optional[int] = ..., host: _Optional[str] = ..., kernel: _Optional[str] = ..., release: _Optional[str] = ..., image_id: _Optional[str] = ..., image_digest: _Optional[str] = ..., environment: _Optional[str] = ..., datasets: _Optional[_Iterable[_Union[RanWith.Dataset, _Mapping]]] = ..., gpus: _Optional[_Iterable[str]] = ..., driver: _Optional[str] = ..., cuda: _Optional[str] = ...) -> None: ...

class TaskAttempt(_message.Message):
    __slots__ = ("number", "cause", "begun_at", "allocated_at", "started_at", "exited_at", "worker_id", "failure_reason", "exit_code", "error")
    class Cause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        cause_unspecified: _ClassVar[TaskAttempt.Cause]
        retry: _ClassVar[TaskAttempt.Cause]
        host_fault: _ClassVar[TaskAttempt.Cause]
        preempted: _ClassVar[TaskAttempt.Cause]
        interrupted: _ClassVar[TaskAttempt.Cause]
        discarded: _ClassVar[TaskAttempt.Cause]
    cause_unspecified: TaskAttempt.Cause
    retry: TaskAttempt.Cause
    host_fault: TaskAttempt.Cause
    preempted: TaskAttempt.Cause
    interrupted: TaskAttempt.Cause
    discarded: TaskAttempt.Cause
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    BEGUN_AT_FIELD_NUMBER: _ClassVar[int]
    ALLOCATED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    EXITED_AT_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    FAILURE_REASON_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    number: int
    cause: TaskAttempt.Cause
    begun_at: _timestamp_pb2.Timestamp
    allocated_at: _timestamp_pb2.Timestamp
    started_at: _timestamp_pb2.Timestamp
    exited_at: _timestamp_pb2.Timestamp
    worker_id: str
    failure_reason: Task.FailureReason
    exit_code: int
    error: str
    def __init__(self, number: _Optional[int] = ..., cause: _Optional[_Union[TaskAttempt.Cause, str]] = ..., begun_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., allocated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., exited_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., worker_id: _Optional[str] = ..., failure_reason: _Optional[_Union[Task.FailureReason, str]] = ..., exit_code: _Optional[int] = ..., error: _Optional[str] = ...) -> None: ...

class SecretUse(_message.Message):
    __slots__ = ("name",)
    class Form(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        form_unspecified: _ClassVar[SecretUse.Form]
        env: _ClassVar[SecretUse.Form]
        file: _ClassVar[SecretUse.Form]
    form_unspecified: SecretUse.Form
    env: SecretUse.Form
    file: SecretUse.Form
    NAME_FIELD_NUMBER: _ClassVar[int]
    AS_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ..., **kwargs) -> None: ...

class NotifyTarget(_message.Message):
    __slots__ = ("url", "on")
    class Event(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        event_unspecified: _ClassVar[NotifyTarget.Event]
        started: _ClassVar[NotifyTarget.Event]
        completed: _ClassVar[NotifyTarget.Event]
        failed: _ClassVar[NotifyTarget.Event]
        preempted: _ClassVar[NotifyTarget.Event]
        idle: _ClassVar[NotifyTarget.Event]
    event_unspecified: NotifyTarget.Event
    started: NotifyTarget.Event
    completed: NotifyTarget.Event
    failed: NotifyTarget.Event
    preempted: NotifyTarget.Event
    idle: NotifyTarget.Event
    URL_FIELD_NUMBER: _ClassVar[int]
    ON_FIELD_NUMBER: _ClassVar[int]
    url: str
    on: _containers.RepeatedScalarFieldContainer[NotifyTarget.Event]
    def __init__(self, url: _Optional[str] = ..., on: _Optional[_Iterable[_Union[NotifyTarget.Event, str]]] = ...) -> None: ...

class Dependency(_message.Message):
    __slots__ = ("task_id", "condition", "sweep_id", "same_index")
    class Condition(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        condition_unspecified: _ClassVar[Dependency.Condition]
        completed: _ClassVar[Dependency.Condition]
        ended: _ClassVar[Dependency.Condition]
        failed: _ClassVar[Dependency.Condition]
    condition_unspecified: Dependency.Condition
    completed: Dependency.Condition
    ended: Dependency.Condition
    failed: Dependency.Condition
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    SWEEP_ID_FIELD_NUMBER: _ClassVar[int]
    SAME_INDEX_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    condition: Dependency.Condition
    sweep_id: str
    same_index: bool
    def __init__(self, task_id: _Optional[str] = ..., condition: _Optional[_Union[Dependency.Condition, str]] = ..., sweep_id: _Optional[str] = ..., same_index: _Optional[bool] = ...) -> None: ...

class Environment(_message.Message):
    __slots__ = ("requirements", "project", "script", "versions")
    REQUIREMENTS_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    SCRIPT_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    requirements: str
    project: str
    script: str
    versions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, requirements: _Optional[str] = ..., project: _Optional[str] = ..., script: _Optional[str] = ..., versions: _Optional[_Iterable[str]] = ...) -> None: ...

class DatasetSpec(_message.Message):
    __slots__ = ("name", "source", "sha256", "mount_path")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    MOUNT_PATH_FIELD_NUMBER: _ClassVar[int]
    name: str
    source: str
    sha256: str
    mount_path: str
    def __init__(self, name: _Optional[str] = ..., source: _Optional[str] = ..., sha256: _Optional[str] = ..., mount_path: _Optional[str] = ...) -> None: ...

class CreateTaskRequest(_message.Message):
    __slots__ = ("job_name", "priority", "args", "snapshot_id", "datasets", "dataset_specs", "cpu", "memory_gb", "gpu", "metadata", "image", "command", "env", "timeout_seconds", "max_retries", "experiment_id", "idempotency_key", "view", "preemptible", "validate_only", "checkpoint", "checkpoint_from", "warn_seconds", "volumes", "secrets", "after", "inputs_from", "start_after", "hold", "slurm", "environment", "may_idle", "notify", "without")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class EnvEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class SlurmEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    JOB_NAME_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    DATASET_SPECS_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    MEMORY_GB_FIELD_NUMBER: _ClassVar[int]
    GPU_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MAX_RETRIES_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    PREEMPTIBLE_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FROM_FIELD_NUMBER: _ClassVar[int]
    WARN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    VOLUMES_FIELD_NUMBER: _ClassVar[int]
    SECRETS_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FROM_FIELD_NUMBER: _ClassVar[int]
    START_AFTER_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    SLURM_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    MAY_IDLE_FIELD_NUMBER: _ClassVar[int]
    NOTIFY_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_FIELD_NUMBER: _ClassVar[int]
    job_name: str
    priority: int
    args: str
    snapshot_id: str
    datasets: _containers.RepeatedScalarFieldContainer[str]
    dataset_specs: _containers.RepeatedCompositeFieldContainer[DatasetSpec]
    cpu: int
    memory_gb: int
    gpu: int
    metadata: _containers.ScalarMap[str, str]
    image: str
    command: _containers.RepeatedScalarFieldContainer[str]
    env: _containers.ScalarMap[str, str]
    timeout_seconds: int
    max_retries: int
    experiment_id: str
    idempotency_key: str
    view: View
    preemptible: bool
    validate_only: bool
    checkpoint: bool
    checkpoint_from: str
    warn_seconds: int
    volumes: _containers.RepeatedScalarFieldContainer[str]
    secrets: _containers.RepeatedCompositeFieldContainer[SecretUse]
    after: _containers.RepeatedCompositeFieldContainer[Dependency]
    inputs_from: _containers.RepeatedScalarFieldContainer[str]
    start_after: _timestamp_pb2.Timestamp
    hold: bool
    slurm: _containers.ScalarMap[str, str]
    environment: Environment
    may_idle: bool
    notify: _containers.RepeatedCompositeFieldContainer[NotifyTarget]
    without: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, job_name: _Optional[str] = ..., priority: _Optional[int] = ..., args: _Optional[str] = ..., snapshot_id: _Optional[str] = ..., datasets: _Optional[_Iterable[str]] = ..., dataset_specs: _Optional[_Iterable[_Union[DatasetSpec, _Mapping]]] = ..., cpu: _Optional[int] = ..., memory_gb: _Optional[int] = ..., gpu: _Optional[int] = ..., metadata: _Optional[_Mapping[str, str]] = ..., image: _Optional[str] = ..., command: _Optional[_Iterable[str]] = ..., env: _Optional[_Mapping[str, str]] = ..., timeout_seconds: _Optional[int] = ..., max_retries: _Optional[int] = ..., experiment_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., view: _Optional[_Union[View, str]] = ..., preemptible: _Optional[bool] = ..., validate_only: _Optional[bool] = ..., checkpoint: _Optional[bool] = ..., checkpoint_from: _Optional[str] = ..., warn_seconds: _Optional[int] = ..., volumes: _Optional[_Iterable[str]] = ..., secrets: _Optional[_Iterable[_Union[SecretUse, _Mapping]]] = ..., after: _Optional[_Iterable[_Union[Dependency, _Mapping]]] = ..., inputs_from: _Optional[_Iterable[str]] = ..., start_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., hold: _Optional[bool] = ..., slurm: _Optional[_Mapping[str, str]] = ..., environment: _Optional[_Union[Environment, _Mapping]] = ..., may_idle: _Optional[bool] = ..., notify: _Optional[_Iterable[_Union[NotifyTarget, _Mapping]]] = ..., without: _Optional[_Iterable[str]] = ...) -> None: ...

class CreateTasksRequest(_message.Message):
    __slots__ = ("tasks",)
    TASKS_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedCompositeFieldContainer[CreateTaskRequest]
    def __init__(self, tasks: _Optional[_Iterable[_Union[CreateTaskRequest, _Mapping]]] = ...) -> None: ...

class CreateTasksResponse(_message.Message):
    __slots__ = ("tasks",)
    TASKS_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedCompositeFieldContainer[Task]
    def __init__(self, tasks: _Optional[_Iterable[_Union[Task, _Mapping]]] = ...) -> None: ...

class GetTaskRequest(_message.Message):
    __slots__ = ("task_id", "view")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    view: View
    def __init__(self, task_id: _Optional[str] = ..., view: _Optional[_Union[View, str]] = ...) -> None: ...

class ListTasksRequest(_message.Message):
    __slots__ = ("status", "limit", "offset", "states", "job_name_prefix", "user_id", "experiment_id", "page_size", "page_token", "view", "text", "labels", "created_after", "created_before", "id_suffix", "sweep_id", "fold_sweeps", "fold_experiments")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    JOB_NAME_PREFIX_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AFTER_FIELD_NUMBER: _ClassVar[int]
    CREATED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    ID_SUFFIX_FIELD_NUMBER: _ClassVar[int]
    SWEEP_ID_FIELD_NUMBER: _ClassVar[int]
    FOLD_SWEEPS_FIELD_NUMBER: _ClassVar[int]
    FOLD_EXPERIMENTS_FIELD_NUMBER: _ClassVar[int]
    status: Task.Status
    limit: int
    offset: int
    states: _containers.RepeatedScalarFieldContainer[Task.Status]
    job_name_prefix: str
    user_id: str
    experiment_id: str
    page_size: int
    page_token: str
    view: View
    text: str
    labels: _containers.RepeatedScalarFieldContainer[str]
    created_after: _timestamp_pb2.Timestamp
    created_before: _timestamp_pb2.Timestamp
    id_suffix: str
    sweep_id: str
    fold_sweeps: bool
    fold_experiments: bool
    def __init__(self, status: _Optional[_Union[Task.Status, str]] = ..., limit: _Optional[int] = ..., offset: _Optional[int] = ..., states: _Optional[_Iterable[_Union[Task.Status, str]]] = ..., job_name_prefix: _Optional[str] = ..., user_id: _Optional[str] = ..., experiment_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., view: _Optional[_Union[View, str]] = ..., text: _Optional[str] = ..., labels: _Optional[_Iterable[str]] = ..., created_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., id_suffix: _Optional[str] = ..., sweep_id: _Optional[str] = ..., fold_sweeps: _Optional[bool] = ..., fold_experiments: _Optional[bool] = ...) -> None: ...

class TaskList(_message.Message):
    __slots__ = ("tasks", "total", "limit", "offset", "next_page_token")
    TASKS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedCompositeFieldContainer[Task]
    total: int
    limit: int
    offset: int
    next_page_token: str
    def __init__(self, tasks: _Optional[_Iterable[_Union[Task, _Mapping]]] = ..., total: _Optional[int] = ..., limit: _Optional[int] = ..., offset: _Optional[int] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateTaskRequest(_message.Message):
    __slots__ = ("task_id", "priority", "metadata", "update_mask", "view", "hold", "start_after", "notify", "timeout_seconds")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    START_AFTER_FIELD_NUMBER: _ClassVar[int]
    NOTIFY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    priority: int
    metadata: _containers.ScalarMap[str, str]
    update_mask: _field_mask_pb2.FieldMask
    view: View
    hold: bool
    start_after: _timestamp_pb2.Timestamp
    notify: _containers.RepeatedCompositeFieldContainer[NotifyTarget]
    timeout_seconds: int
    def __init__(self, task_id: _Optional[str] = ..., priority: _Optional[int] = ..., metadata: _Optional[_Mapping[str, str]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., view: _Optional[_Union[View, str]] = ..., hold: _Optional[bool] = ..., start_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., notify: _Optional[_Iterable[_Union[NotifyTarget, _Mapping]]] = ..., timeout_seconds: _Optional[int] = ...) -> None: ...

class RetryTaskRequest(_message.Message):
    __slots__ = ("task_id", "idempotency_key", "view")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    idempotency_key: str
    view: View
    def __init__(self, task_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., view: _Optional[_Union[View, str]] = ...) -> None: ...

class InterruptTaskRequest(_message.Message):
    __slots__ = ("task_id",)
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    def __init__(self, task_id: _Optional[str] = ...) -> None: ...

class TaskInterruption(_message.Message):
    __slots__ = ("task_id", "attempt", "started_at", "interrupted_at", "checkpoint_saved_at")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    INTERRUPTED_AT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_SAVED_AT_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    attempt: int
    started_at: _timestamp_pb2.Timestamp
    interrupted_at: _timestamp_pb2.Timestamp
    checkpoint_saved_at: _timestamp_pb2.Timestamp
    def __init__(self, task_id: _Optional[str] = ..., attempt: _Optional[int] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., interrupted_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., checkpoint_saved_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class DeclareTaskLostRequest(_message.Message):
    __slots__ = ("task_id", "view")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    view: View
    def __init__(self, task_id: _Optional[str] = ..., view: _Optional[_Union[View, str]] = ...) -> None: ...

class CancelTaskRequest(_message.Message):
    __slots__ = ("task_id", "view")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    view: View
    def __init__(self, task_id: _Optional[str] = ..., view: _Optional[_Union[View, str]] = ...) -> None: ...

class DeleteTaskRequest(_message.Message):
    __slots__ = ("task_id",)
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    def __init__(self, task_id: _Optional[str] = ...) -> None: ...

class WatchTasksRequest(_message.Message):
    __slots__ = ("since_seq", "task_id", "states", "job_name_prefix", "user_id", "experiment_id", "view")
    SINCE_SEQ_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    JOB_NAME_PREFIX_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    since_seq: int
    task_id: str
    states: _containers.RepeatedScalarFieldContainer[Task.Status]
    job_name_prefix: str
    user_id: str
    experiment_id: str
    view: View
    def __init__(self, since_seq: _Optional[int] = ..., task_id: _Optional[str] = ..., states: _Optional[_Iterable[_Union[Task.Status, str]]] = ..., job_name_prefix: _Optional[str] = ..., user_id: _Optional[str] = ..., experiment_id: _Optional[str] = ..., view: _Optional[_Union[View, str]] = ...) -> None: ...

class WatchTasksResponse(_message.Message):
    __slots__ = ("type", "seq", "timestamp", "task")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        type_unspecified: _ClassVar[WatchTasksResponse.Type]
        snapshot: _ClassVar[WatchTasksResponse.Type]
        synced: _ClassVar[WatchTasksResponse.Type]
        task_update: _ClassVar[WatchTasksResponse.Type]
        task_deleted: _ClassVar[WatchTasksResponse.Type]
        resync: _ClassVar[WatchTasksResponse.Type]
    type_unspecified: WatchTasksResponse.Type
    snapshot: WatchTasksResponse.Type
    synced: WatchTasksResponse.Type
    task_update: WatchTasksResponse.Type
    task_deleted: WatchTasksResponse.Type
    resync: WatchTasksResponse.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    type: WatchTasksResponse.Type
    seq: int
    timestamp: _timestamp_pb2.Timestamp
    task: Task
    def __init__(self, type: _Optional[_Union[WatchTasksResponse.Type, str]] = ..., seq: _Optional[int] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., task: _Optional[_Union[Task, _Mapping]] = ...) -> None: ...

class StreamTaskLogsRequest(_message.Message):
    __slots__ = ("task_id", "offset", "follow", "attempt", "limit", "tail", "since")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    offset: int
    follow: bool
    attempt: int
    limit: int
    tail: int
    since: _timestamp_pb2.Timestamp
    def __init__(self, task_id: _Optional[str] = ..., offset: _Optional[int] = ..., follow: _Optional[bool] = ..., attempt: _Optional[int] = ..., limit: _Optional[int] = ..., tail: _Optional[int] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class TaskLogChunk(_message.Message):
    __slots__ = ("attempt", "offset", "data")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    offset: int
    data: bytes
    def __init__(self, attempt: _Optional[int] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class GetTaskLogInfoRequest(_message.Message):
    __slots__ = ("task_id", "attempt", "offset", "limit")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    attempt: int
    offset: int
    limit: int
    def __init__(self, task_id: _Optional[str] = ..., attempt: _Optional[int] = ..., offset: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class TaskLogInfo(_message.Message):
    __slots__ = ("task_id", "attempt", "attempts", "offset", "end", "may_grow", "times")
    class LogTime(_message.Message):
        __slots__ = ("at", "offset")
        AT_FIELD_NUMBER: _ClassVar[int]
        OFFSET_FIELD_NUMBER: _ClassVar[int]
        at: _timestamp_pb2.Timestamp
        offset: int
        def __init__(self, at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., offset: _Optional[int] = ...) -> None: ...
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    MAY_GROW_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    attempt: int
    attempts: int
    offset: int
    end: int
    may_grow: bool
    times: _containers.RepeatedCompositeFieldContainer[TaskLogInfo.LogTime]
    def __init__(self, task_id: _Optional[str] = ..., attempt: _Optional[int] = ..., attempts: _Optional[int] = ..., offset: _Optional[int] = ..., end: _Optional[int] = ..., may_grow: _Optional[bool] = ..., times: _Optional[_Iterable[_Union[TaskLogInfo.LogTime, _Mapping]]] = ...) -> None: ...

class SearchTaskLogsRequest(_message.Message):
    __slots__ = ("task_id", "q", "attempt", "offset", "limit", "backwards", "ignore_case")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    Q_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    BACKWARDS_FIELD_NUMBER: _ClassVar[int]
    IGNORE_CASE_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    q: str
    attempt: int
    offset: int
    limit: int
    backwards: bool
    ignore_case: bool
    def __init__(self, task_id: _Optional[str] = ..., q: _Optional[str] = ..., attempt: _Optional[int] = ..., offset: _Optional[int] = ..., limit: _Optional[int] = ..., backwards: _Optional[bool] = ..., ignore_case: _Optional[bool] = ...) -> None: ...

class TaskLogMatches(_message.Message):
    __slots__ = ("attempt", "matches", "next_offset")
    class Match(_message.Message):
        __slots__ = ("offset", "line_offset", "text", "at")
        OFFSET_FIELD_NUMBER: _ClassVar[int]
        LINE_OFFSET_FIELD_NUMBER: _ClassVar[int]
        TEXT_FIELD_NUMBER: _ClassVar[int]
        AT_FIELD_NUMBER: _ClassVar[int]
        offset: int
        line_offset: int
        text: str
        at: _timestamp_pb2.Timestamp
        def __init__(self, offset: _Optional[int] = ..., line_offset: _Optional[int] = ..., text: _Optional[str] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    MATCHES_FIELD_NUMBER: _ClassVar[int]
    NEXT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    matches: _containers.RepeatedCompositeFieldContainer[TaskLogMatches.Match]
    next_offset: int
    def __init__(self, attempt: _Optional[int] = ..., matches: _Optional[_Iterable[_Union[TaskLogMatches.Match, _Mapping]]] = ..., next_offset: _Optional[int] = ...) -> None: ...

class ExplainTaskRequest(_message.Message):
    __slots__ = ("task_id",)
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    def __init__(self, task_id: _Optional[str] = ...) -> None: ...

class TaskExplanation(_message.Message):
    __slots__ = ("task_id", "status", "reason", "position", "missing", "progress", "estimate")
    class ResourceShortage(_message.Message):
        __slots__ = ("resource", "requested", "free", "total", "blocked")
        RESOURCE_FIELD_NUMBER: _ClassVar[int]
        REQUESTED_FIELD_NUMBER: _ClassVar[int]
        FREE_FIELD_NUMBER: _ClassVar[int]
        TOTAL_FIELD_NUMBER: _ClassVar[int]
        BLOCKED_FIELD_NUMBER: _ClassVar[int]
        resource: str
        requested: int
        free: int
        total: int
        blocked: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, resource: _Optional[str] = ..., requested: _Optional[int] = ..., free: _Optional[int] = ..., total: _Optional[int] = ..., blocked: _Optional[_Iterable[str]] = ...) -> None: ...
    class StartEstimate(_message.Message):
        __slots__ = ("p50", "p90", "checked", "held_p50_percent", "held_p90_percent")
        P50_FIELD_NUMBER: _ClassVar[int]
        P90_FIELD_NUMBER: _ClassVar[int]
        CHECKED_FIELD_NUMBER: _ClassVar[int]
        HELD_P50_PERCENT_FIELD_NUMBER: _ClassVar[int]
        HELD_P90_PERCENT_FIELD_NUMBER: _ClassVar[int]
        p50: _timestamp_pb2.Timestamp
        p90: _timestamp_pb2.Timestamp
        checked: int
        held_p50_percent: int
        held_p90_percent: int
        def __init__(self, p50: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., p90: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., checked: _Optional[int] = ..., held_p50_percent: _Optional[int] = ..., held_p90_percent: _Optional[int] = ...) -> None: ...
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    status: Task.Status
    reason: str
    position: int
    missing: _containers.RepeatedCompositeFieldContainer[TaskExplanation.ResourceShortage]
    progress: str
    estimate: TaskExplanation.StartEstimate
    def __init__(self, task_id: _Optional[str] = ..., status: _Optional[_Union[Task.Status, str]] = ..., reason: _Optional[str] = ..., position: _Optional[int] = ..., missing: _Optional[_Iterable[_Union[TaskExplanation.ResourceShortage, _Mapping]]] = ..., progress: _Optional[str] = ..., estimate: _Optional[_Union[TaskExplanation.StartEstimate, _Mapping]] = ...) -> None: ...

class ListTaskOutputsRequest(_message.Message):
    __slots__ = ("task_id", "folder")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    folder: str
    def __init__(self, task_id: _Optional[str] = ..., folder: _Optional[str] = ...) -> None: ...

class TaskOutputs(_message.Message):
    __slots__ = ("outputs",)
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    outputs: _containers.RepeatedCompositeFieldContainer[TaskOutput]
    def __init__(self, outputs: _Optional[_Iterable[_Union[TaskOutput, _Mapping]]] = ...) -> None: ...

class TaskOutput(_message.Message):
    __slots__ = ("path", "size_bytes", "modified_at", "etag")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MODIFIED_AT_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    path: str
    size_bytes: int
    modified_at: _timestamp_pb2.Timestamp
    etag: str
    def __init__(self, path: _Optional[str] = ..., size_bytes: _Optional[int] = ..., modified_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ...) -> None: ...

class DownloadTaskOutputRequest(_message.Message):
    __slots__ = ("task_id", "path", "offset", "etag", "folder")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    path: str
    offset: int
    etag: str
    folder: str
    def __init__(self, task_id: _Optional[str] = ..., path: _Optional[str] = ..., offset: _Optional[int] = ..., etag: _Optional[str] = ..., folder: _Optional[str] = ...) -> None: ...

class TaskOutputChunk(_message.Message):
    __slots__ = ("data", "etag", "size_bytes")
    DATA_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    etag: str
    size_bytes: int
    def __init__(self, data: _Optional[bytes] = ..., etag: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class DownloadTaskArchiveRequest(_message.Message):
    __slots__ = ("task_id", "format")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    format: str
    def __init__(self, task_id: _Optional[str] = ..., format: _Optional[str] = ...) -> None: ...

class TaskArchiveChunk(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...
