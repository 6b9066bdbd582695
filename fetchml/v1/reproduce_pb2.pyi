from fetchml.v1 import task_pb2 as _task_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DiffTasksRequest(_message.Message):
    __slots__ = ("task_id", "other_id", "outputs")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    OTHER_ID_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    other_id: str
    outputs: bool
    def __init__(self, task_id: _Optional[str] = ..., other_id: _Optional[str] = ..., outputs: _Optional[bool] = ...) -> None: ...

class TaskDiff(_message.Message):
    __slots__ = ("task_id", "other_id", "outcome", "sections")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        outcome_unspecified: _ClassVar[TaskDiff.Outcome]
        identical: _ClassVar[TaskDiff.Outcome]
        different: _ClassVar[TaskDiff.Outcome]
        unknown: _ClassVar[TaskDiff.Outcome]
    outcome_unspecified: TaskDiff.Outcome
    identical: TaskDiff.Outcome
    different: TaskDiff.Outcome
    unknown: TaskDiff.Outcome
    class Change(_message.Message):
        __slots__ = ("name", "before", "after", "diff", "note")
        NAME_FIELD_NUMBER: _ClassVar[int]
        BEFORE_FIELD_NUMBER: _ClassVar[int]
        AFTER_FIELD_NUMBER: _ClassVar[int]
        DIFF_FIELD_NUMBER: _ClassVar[int]
        NOTE_FIELD_NUMBER: _ClassVar[int]
        name: str
        before: str
        after: str
        diff: str
        note: str
        def __init__(self, name: _Optional[str] = ..., before: _Optional[str] = ..., after: _Optional[str] = ..., diff: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...
    class Section(_message.Message):
        __slots__ = ("name", "outcome", "changes", "compared", "omitted", "note")
        NAME_FIELD_NUMBER: _ClassVar[int]
        OUTCOME_FIELD_NUMBER: _ClassVar[int]
        CHANGES_FIELD_NUMBER: _ClassVar[int]
        COMPARED_FIELD_NUMBER: _ClassVar[int]
        OMITTED_FIELD_NUMBER: _ClassVar[int]
        NOTE_FIELD_NUMBER: _ClassVar[int]
        name: str
        outcome: TaskDiff.Outcome
        changes: _containers.RepeatedCompositeFieldContainer[TaskDiff.Change]
        compared: int
        omitted: int
        note: str
        def __init__(self, name: _Optional[str] = ..., outcome: _Optional[_Union[TaskDiff.Outcome, str]] = ..., changes: _Optional[_Iterable[_Union[TaskDiff.Change, _Mapping]]] = ..., compared: _Optional[int] = ..., omitted: _Optional[int] = ..., note: _Optional[str] = ...) -> None: ...
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    OTHER_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    SECTIONS_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    other_id: str
    outcome: TaskDiff.Outcome
    sections: _containers.RepeatedCompositeFieldContainer[TaskDiff.Section]
    def __init__(self, task_id: _Optional[str] = ..., other_id: _Optional[str] = ..., outcome: _Optional[_Union[TaskDiff.Outcome, str]] = ..., sections: _Optional[_Iterable[_Union[TaskDiff.Section, _Mapping]]] = ...) -> None: ...

class RerunTaskRequest(_message.Message):
    __slots__ = ("task_id", "parameters", "args", "pinned", "view")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    parameters: _containers.ScalarMap[str, str]
    args: str
    pinned: bool
    view: _task_pb2.View
    def __init__(self, task_id: _Optional[str] = ..., parameters: _Optional[_Mapping[str, str]] = ..., args: _Optional[str] = ..., pinned: _Optional[bool] = ..., view: _Optional[_Union[_task_pb2.View, str]] = ...) -> None: ...

class ListTaskPackagesRequest(_message.Message):
    __slots__ = ("task_id",)
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    def __init__(self, task_id: _Optional[str] = ...) -> None: ...

class TaskPackages(_message.Message):
    __slots__ = ("packages",)
    PACKAGES_FIELD_NUMBER: _ClassVar[int]
    packages: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, packages: _Optional[_Iterable[str]] = ...) -> None: ...
