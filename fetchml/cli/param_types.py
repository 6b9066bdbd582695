"""Lengths of time, as people type them."""

import re
from typing import Any

import click

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


class Duration(click.ParamType[int]):
    """`90`, `90s`, `30m`, `12h`, `2d`."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"([0-9]{1,9})([smhd]?)", str(value))
        if not match:
            self.fail(f"{value!r} is not a time such as 90, 30m, 12h or 2d", param, ctx)
        seconds = int(match[1]) * _UNITS[match[2]]
        if seconds >= 1 << 31:
            self.fail(f"{value!r} is longer than 68 years", param, ctx)
        return seconds
