"""The types of options: durations, times, 32-bit integers, KEY=VALUE pairs, datasets."""

import os
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from fetchml.client.arguments import secret_use
from fetchml.v1.task_pb2 import DatasetSpec, Dependency, NotifyTarget, SecretUse

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


class Duration(click.ParamType[int]):
    """A duration such as `90`, `90s`, `30m`, `12h`, `2d`, converted to seconds."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"([0-9]{1,9})([smhd]?)", str(value))
        if not match:
            self.fail(f"{value!r} is not a time such as 90, 30m, 12h or 2d", param, ctx)
        seconds = int(match[1]) * _UNITS[match[2]]
        if seconds >= 1 << 31:
            self.fail(f"{value!r} is longer than 68 years", param, ctx)
        return seconds


class StartTime(click.ParamType[datetime]):
    """A time such as `2026-12-01T20:00Z`, in the zone of this machine if it names none, or `+2h`
    from now."""

    name = "TIME"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        text = str(value)
        if text.startswith("+"):
            seconds = Duration().convert(text[1:], param, ctx)
            return datetime.now(UTC) + timedelta(seconds=seconds)
        try:
            return datetime.fromisoformat(text).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a time such as 2026-12-01T20:00Z or +2h", param, ctx)


class Int32(click.types.IntParamType):
    """An integer that fits in a protobuf message. The server checks its range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number: int = super().convert(value, param, ctx)
        if not -(1 << 31) <= number < 1 << 31:
            self.fail(f"{number} does not fit in 32 bits", param, ctx)
        return number


class KeyValue(click.ParamType[tuple[str, str]]):
    """`KEY=VALUE`. With `or_environment`, a key alone takes its value from the environment."""

    name = "KEY=VALUE"

    def __init__(self, *, or_environment: bool = False) -> None:
        self._or_environment = or_environment

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        key, equals, content = str(value).partition("=")
        if not equals and self._or_environment and key in os.environ:
            return key, os.environ[key]
        if not equals or not key:
            extra = ", or the name of a variable that is set here" if self._or_environment else ""
            self.fail(f"{value!r} is not KEY=VALUE{extra}", param, ctx)
        return key, content


SWEEP = "sweep:"
"""Before a sweep in place of a task: all of its tasks."""
SAME_INDEX = "same-index:"
"""Before a sweep in place of a task: the task with the same index."""


class AfterParam(click.ParamType[tuple[str, Any]]):
    """`TASK`, `sweep:SWEEP` or `same-index:SWEEP`, each with or without `:CONDITION`, converted to
    what is named, as given, and the condition's number."""

    name = "TASK[:ended]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        kind, text = split_kind(str(value))
        named, colon, condition = text.partition(":")
        names = ["completed", "ended", "failed"]
        if not named or (colon and condition not in names):
            what = "a sweep" if kind else "a task"
            self.fail(f"{value!r} is not {what} with one of :{', :'.join(names)}", param, ctx)
        return kind + named, Dependency.Condition.Value(condition or "completed")


def split_kind(named: str) -> tuple[str, str]:
    """Split what an option names into SWEEP, SAME_INDEX or nothing, and the name."""
    for kind in (SWEEP, SAME_INDEX):
        if named.startswith(kind):
            return kind, named.removeprefix(kind)
    return "", named


class SecretParam(click.ParamType[SecretUse]):
    """`NAME`, `NAME:env` or `NAME:file`."""

    name = "NAME[:file]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> SecretUse:
        try:
            return secret_use(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class NotifyParam(click.ParamType[NotifyTarget]):
    """`URL`, or `EVENT,EVENT,URL`."""

    name = "[EVENT,…]URL"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> NotifyTarget:
        match = re.fullmatch(r"((?:[a-z]+,)*)([a-z]+:.*)", str(value), re.DOTALL)
        names = match[1].split(",")[:-1] if match else []
        events = NotifyTarget.Event.keys()[1:]  # The first one is never sent.
        if not match or not set(names) <= set(events):
            self.fail(f"{value!r} is not a URL after any of {', '.join(events)}", param, ctx)
        return NotifyTarget(url=match[2], on=names)


class DatasetParam(click.ParamType[DatasetSpec]):
    """`name=…,source=…,sha256=…,mount_path=…`, each at most once."""

    name = "KEY=VALUE,…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> DatasetSpec:
        field_names = [field.name for field in DatasetSpec.DESCRIPTOR.fields]
        fields: dict[str, str] = {}
        for part in str(value).split(","):
            key, equals, content = part.partition("=")
            if key not in field_names or key in fields or not equals:
                expected = ", ".join(f"{name}=…" for name in field_names)
                self.fail(f"{part!r} is not one of {expected}; give each at most once", param, ctx)
            fields[key] = content
        return DatasetSpec(**fields)
