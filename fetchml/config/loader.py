"""Settings from flags, the environment and fetchml.toml.

A flag overrides the environment, the environment the file, the file the default.
"""

import json
import os
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args, get_origin
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from fetchml.config.address import Address
from fetchml.config.proxies import Network
from fetchml.config.settings import Setting, Settings, all_settings
from fetchml.core.requests.text import nearest


class ConfigError(Exception):
    """A setting is wrong. The message names it, its source, and the expected value."""


def load(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
) -> Settings:
    """Load the settings from all sources. `flags`: by the names of settings. Raises ConfigError."""
    environment = os.environ if environment is None else environment
    flags = flags or {}
    settings = list(all_settings())
    in_file = _read(file, settings) if file else {}
    chosen: dict[str, dict[str, object]] = {}
    for setting in settings:
        table = chosen.setdefault(setting.table, {})
        if setting.table in {"", "server"} and setting.name in flags:
            where = f"--{setting.name.replace('_', '-')}"
            table[setting.name] = _convert(flags[setting.name], setting, where, text=True)
        elif value := environment.get(setting.variable):
            table[setting.name] = _convert(value, setting, setting.variable, text=True)
        elif (setting.table, setting.name) in in_file:
            value_in_file = in_file[setting.table, setting.name]
            table[setting.name] = _convert(value_in_file, setting, f"{file}: {setting}")
    top = chosen.pop("")
    tables = {
        field.name: field.type(**chosen[field.name])
        for field in msgspec.structs.fields(Settings)
        if field.name in chosen
    }
    return Settings(**top, **tables)  # type: ignore[arg-type]  # converted to its type above


def change(settings: Settings, name: str, text: str) -> Settings:
    """Return the settings with another value of one, such as `quotas.user_gpus`, as in the
    environment. Raises ConfigError."""
    table, _, inner = name.rpartition(".")
    setting = next(each for each in all_settings() if (each.table, each.name) == (table, inner))
    value = _convert(text, setting, name, text=True)
    changed = msgspec.structs.replace(getattr(settings, table), **{inner: value})
    return msgspec.structs.replace(settings, **{table: changed})


def _read(file: Path, settings: list[Setting]) -> dict[tuple[str, str], object]:
    """Return the file's values by (table, name). Raises ConfigError, also for unknown names."""
    try:
        with file.open("rb") as stream:
            content = tomllib.load(stream)
    except OSError as error:
        raise ConfigError(f"{file}: cannot read it: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not TOML: {error}") from error
    tables = {setting.table for setting in settings if setting.table}
    of_tables = {setting.name for setting in settings if setting.is_tables}
    values: dict[tuple[str, str], object] = {}
    for name, value in content.items():
        if name in tables:
            if not isinstance(value, dict):
                raise ConfigError(f"{file}: {name} is a table: write [{name}]")
            values.update({(name, inner): item for inner, item in value.items()})
        elif isinstance(value, dict) and name not in of_tables:
            raise ConfigError(f"{file}: unknown table [{name}]{_nearest(name, tables, '[{}]')}")
        else:
            values["", name] = value
    by_key = {(setting.table, setting.name): setting for setting in settings}
    for table, name in values.keys() - by_key.keys():
        shown = f"[{table}] {name}" if table else name
        there = {setting.name for setting in settings if setting.table == table}
        elsewhere = {setting.name: str(setting) for setting in settings}
        hint = _nearest(name, there, "{}")
        if not hint and (near := nearest(name, elsewhere)):
            hint = f"; did you mean {elsewhere[near]}?"
        raise ConfigError(f"{file}: unknown setting {shown}{hint}")
    return values


def _nearest(name: str, names: set[str], form: str) -> str:
    near = nearest(name, names, least=0.5)
    return f"; did you mean {form.format(near)}?" if near else ""


def _convert(value: object, setting: Setting, where: str, *, text: bool = False) -> object:
    """Convert a value to the setting's type. `text`: the value is a string whatever the type, as
    in flags and the environment. Raises ConfigError."""
    if setting.is_tables:
        _check_tables(value, get_args(get_args(setting.type)[0])[1], where)
    try:
        kind = get_args(setting.type)[0]
        if text and get_origin(kind) is tuple:
            value = shlex.split(str(value))
        if text and get_origin(kind) is dict:
            value = _pairs(shlex.split(str(value)))
            if get_origin(get_args(kind)[1]) is dict:
                value = _nested(value)
        return msgspec.convert(value, setting.type, strict=not text, dec_hook=_decode)
    except ValueError as error:
        raise _wrong(value, kind, where, error) from error


def _check_tables(tables: object, kind: type[msgspec.Struct], where: str) -> None:
    """Check the settings of tables such as `[volumes.NAME]`. Raises ConfigError for what does not
    fit; the conversion reports everything else."""
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for name, table in tables.items() if isinstance(tables, dict) else ():
        if not isinstance(table, dict):
            continue
        at = f"{where}.{name}"
        if unknown := [inner for inner in table if inner not in fields]:
            hint = _nearest(unknown[0], {*fields}, "{}")
            raise ConfigError(f"{at}: unknown setting {unknown[0]}{hint}")
        required = [inner for inner, field in fields.items() if field.required]
        if missing := [inner for inner in required if inner not in table]:
            raise ConfigError(f"{at}: {missing[0]} is required")
        for inner, value in table.items():
            try:
                msgspec.convert(value, fields[inner].type, dec_hook=_decode)
            except ValueError as error:
                raise _wrong(value, fields[inner].type, f"{at}: {inner}", error) from error


def _wrong(value: object, kind: object, where: str, error: ValueError) -> ConfigError:
    expected = str(error).partition(" - at ")[0].replace("`", "")
    if get_origin(kind) is Literal:
        expected = f"expected one of {', '.join(get_args(kind))}"
    expected = expected.partition(", got ")[0]
    shown = json.dumps(value, default=str)
    return ConfigError(f"{where}: {expected[:1].lower()}{expected[1:]}; it is {shown}")


def _pairs(items: list[str]) -> dict[str, str]:
    """Raises ValueError."""
    if not all("=" in item for item in items):
        raise ValueError("Expected NAME=VALUE pairs, separated by blanks")
    return dict(item.split("=", 1) for item in items)


def _nested(pairs: dict[str, str]) -> dict[str, dict[str, str]]:
    """Raises ValueError."""
    tables: dict[str, dict[str, str]] = {}
    for path, value in pairs.items():
        name, dot, inner = path.rpartition(".")
        if not dot:
            raise ValueError("Expected NAME.INNER=VALUE pairs, separated by blanks")
        tables.setdefault(name, {})[inner] = value
    return tables


def _decode(kind: type, value: object) -> object:
    if not isinstance(value, str) or not value:
        raise ValueError("Expected text")
    if kind in (Address, Network):
        return kind.parse(value)
    if kind is ZoneInfo:
        try:
            return ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("Expected a time zone such as Europe/Berlin") from error
    return Path(value).expanduser().absolute()
