"""The types of options: durations, 32-bit integers, KEY=VALUE pairs, datasets."""

import os
import re
from typing import Any

import click

from fetchml.v1.task_pb2 import DatasetSpec

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


class DatasetParam(click.ParamType[DatasetSpec]):
    """`name=…,source=…,sha256=…,mount_path=…`, each at most once."""

    name = "KEY=VALUE,…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> DatasetSpec:
        known = [field.name for field in DatasetSpec.DESCRIPTOR.fields]
        fields: dict[str, str] = {}
        for part in str(value).split(","):
            key, equals, content = part.partition("=")
            if key not in known or key in fields or not equals:
                expected = ", ".join(f"{name}=…" for name in known)
                self.fail(f"{part!r} is not one of {expected}; give each at most once", param, ctx)
            fields[key] = content
        return DatasetSpec(**fields)
