"""The server that a command calls, and the key: from options, the environment, or profiles."""

import os
from typing import NamedTuple

import click

from fetchml.cli.errors import CommandError, ExitCode
from fetchml.cli.profile_file import Profile, Profiles, read_profiles
from fetchml.cli.render import clean
from fetchml.client.connection import DEFAULT_SERVER


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
    known = read_profiles()
    own_key = os.environ.get("FETCHML_API_KEY", "").strip() or None
    if profile:
        return _target(named_profile(known, profile))
    if server:
        return _at(known, server, own_key)
    if known.current:
        target = _target(named_profile(known, known.current))
        return target._replace(key=own_key or target.key)
    return Target(DEFAULT_SERVER, own_key)


def named_profile(known: Profiles, name: str) -> Profile:
    """Return a profile. Raises CommandError."""
    if name in known.named:
        return known.named[name]
    names = ", ".join(sorted(known.named))
    raise CommandError(
        f"There is no profile {clean(name).plain}",
        f"There are {names}." if names else "Create one: fetchml login SERVER",
        ExitCode.USAGE,
    )


def _at(known: Profiles, server: str, own_key: str | None) -> Target:
    """Return the target of an address: with a key of its own, else that of its profile."""
    current = [known.named[known.current]] if known.current in known.named else []
    for profile in (*current, *known.named.values()):
        if own_key is None and profile.server == server:
            return _target(profile)
    return Target(server, own_key)


def _target(profile: Profile) -> Target:
    return Target(profile.server, profile.key, profile.tls_ca or None)
