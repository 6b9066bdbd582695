"""The stored servers, and the server that a command calls."""

import json
import os
import re
import sys
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import click

from fetchml.cli.errors import CommandError, ExitCode, reason
from fetchml.cli.render import clean
from fetchml.client.connection import DEFAULT_SERVER

MAX_BYTES = 1 << 20
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
HEADER = "# Written by 'fetchml login'. It contains API keys: only its owner may read it.\n"


@dataclass(frozen=True, slots=True)
class Profile:
    """A server and how to reach it."""

    server: str
    """The gRPC address, as for `--server`."""
    key: str
    tls_ca: str = ""
    """PEM file with the certificate authorities to trust; empty for those of the system."""


@dataclass(slots=True)
class Profiles:
    """All profiles of a person."""

    current: str = ""
    """The profile that is used by default; empty if none is."""
    named: dict[str, Profile] = field(default_factory=dict)


def profile_path() -> Path:
    """Return the path of the file. Raises CommandError if the user has no home folder."""
    folder = os.environ.get("APPDATA" if sys.platform == "win32" else "XDG_CONFIG_HOME")
    try:
        return (Path(folder) if folder else Path.home() / ".config") / "fetchml" / "profiles.toml"
    except RuntimeError as error:
        raise CommandError(
            "This user has no home folder, so profiles cannot be stored",
            "Set XDG_CONFIG_HOME, or use FETCHML_SERVER and FETCHML_API_KEY.",
        ) from error


def read_profiles() -> Profiles:
    """Return the profiles; none if there is no file. Raises CommandError."""
    try:
        path = profile_path()
    except CommandError:
        return Profiles()
    try:
        with path.open("rb") as file:
            if sys.platform != "win32" and os.fstat(file.fileno()).st_mode & 0o077:
                raise CommandError(
                    f"Other users may read {path}, which contains API keys",
                    f"Run: chmod 600 {path}",
                    ExitCode.REFUSED,
                )
            content = file.read(MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return Profiles()
    except OSError as error:
        raise CommandError(f"Cannot read the profiles: {reason(error)}") from error
    try:
        return _parsed(tomllib.loads(content.decode()))
    except ValueError as error:
        raise CommandError(
            f"{path} is malformed: {error}",
            "Correct it, or remove it and log in again: fetchml login SERVER",
        ) from error


def write_profiles(profiles: Profiles) -> Path:
    """Replace the file, readable for its owner only, and return its path. Raises CommandError."""
    path = profile_path()
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            draft.unlink()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(draft, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(_text(profiles))
        draft.replace(path)
    except OSError as error:
        raise CommandError(f"Cannot write the profiles: {reason(error)}") from error
    return path


def _parsed(content: Mapping[str, object]) -> Profiles:
    """Raises ValueError."""
    current, tables = content.get("current", ""), content.get("profiles", {})
    if not isinstance(current, str) or not isinstance(tables, dict):
        raise ValueError("current must be a string, and profiles a table")
    named: dict[str, Profile] = {}
    for name, values in tables.items():
        if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
            raise ValueError(f"[profiles.{name}] must be a table of strings")
        try:
            named[name] = Profile(**values)
        except TypeError as error:
            raise ValueError(
                f"[profiles.{name}] must have server and key, and may have tls_ca"
            ) from error
    return Profiles(current, named)


def _text(profiles: Profiles) -> str:
    lines = [HEADER, f"current = {_quoted(profiles.current)}\n"]
    for name, profile in sorted(profiles.named.items()):
        lines.append(f"\n[profiles.{_quoted(name)}]\n")
        lines.append(f"server = {_quoted(profile.server)}\nkey = {_quoted(profile.key)}\n")
        if profile.tls_ca:
            lines.append(f"tls_ca = {_quoted(profile.tls_ca)}\n")
    return "".join(lines)


def _quoted(text: str) -> str:
    """Return a TOML string. JSON's differs from it only in DEL, which TOML requires to be
    escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


class Target(NamedTuple):
    """A server to call."""

    server: str
    key: str | None
    """`None` if no key is known: that of this machine's own server may serve."""
    tls_ca: str | None = None
    """`None` for FETCHML_TLS_CA."""


def find_target(server: str | None, profile: str | None) -> Target:
    """Return the server of `--server` or `--profile`, of FETCHML_SERVER or FETCHML_PROFILE, of
    the current profile, or this machine's. Raises CommandError."""
    if server and profile:
        raise click.UsageError("Give --server or --profile, not both.")
    if not server and not profile:
        server = os.environ.get("FETCHML_SERVER")
        profile = None if server else os.environ.get("FETCHML_PROFILE")
    profiles = read_profiles()
    own_key = os.environ.get("FETCHML_API_KEY", "").strip() or None
    if profile:
        return _target(named_profile(profiles, profile))
    if server:
        return _at(profiles, server, own_key)
    if profiles.current:
        target = _target(named_profile(profiles, profiles.current))
        return target._replace(key=own_key or target.key)
    return Target(DEFAULT_SERVER, own_key)


def named_profile(profiles: Profiles, name: str) -> Profile:
    """Return a profile. Raises CommandError."""
    if name in profiles.named:
        return profiles.named[name]
    names = ", ".join(sorted(profiles.named))
    raise CommandError(
        f"Profile {clean(name).plain} not found",
        f"There are {names}." if names else "Create one: fetchml login SERVER",
        ExitCode.USAGE,
    )


def _at(profiles: Profiles, server: str, own_key: str | None) -> Target:
    """Return the target of an address, with `own_key`, or else the key of its profile."""
    current = [profiles.named[profiles.current]] if profiles.current in profiles.named else []
    for profile in (*current, *profiles.named.values()):
        if own_key is None and profile.server == server:
            return _target(profile)
    return Target(server, own_key)


def _target(profile: Profile) -> Target:
    return Target(profile.server, profile.key, profile.tls_ca or None)
