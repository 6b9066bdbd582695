"""Secrets: their names and values, and how a task asks for them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from fetchml.core.model import SecretForm, SecretUse, Value
from fetchml.core.requests.checks import Rule, Violation, also, described, read, text_fault

MAX_NAME = 64
MAX_VALUE_BYTES = 64 * 1024
MAX_OF_ONE_TASK = 32
MAX_OF_ONE_USER = 100
MAX_BYTES_OF_ONE_USER = 512 * 1024
"""Values of one user, and so of one task: Linux limits the size of an environment."""
MAX_BYTES = 16 << 20
"""Encrypted values of all users, which are in memory."""


def _name_content(name: str) -> str | None:
    return "must not begin with FETCHML_" if name.startswith("FETCHML_") else None


def _value_bytes(value: str) -> str | None:
    if (wrong := text_fault(value)) is None and len(value.encode()) > MAX_VALUE_BYTES:
        return f"must not be longer than {MAX_VALUE_BYTES} bytes"
    return wrong


SecretName = Annotated[
    str,
    Meta(
        max_length=MAX_NAME,
        pattern=r"\A[A-Za-z_][A-Za-z0-9_]*\Z",
        extra={**described("must be a name of letters, digits and _"), **also(_name_content)},
    ),
]


class SecretRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An item of `secrets`."""

    name: SecretName
    form: SecretForm = msgspec.field(default=SecretForm.ENV, name="as")


class _Value(msgspec.Struct, frozen=True):
    """A request that sets a secret. No fault repeats the value."""

    value: Annotated[str, Meta(min_length=1, max_length=MAX_VALUE_BYTES, extra=also(_value_bytes))]


class Secret(Value, frozen=True):
    """A secret without its value, as its owner gets it."""

    user: str
    name: str
    created_at: int
    updated_at: int


def name_fault(name: str) -> str | None:
    """The fault of a secret's name; `None` if it is valid."""
    return Rule(SecretName).fault(name)


def read_value(request: Mapping[str, object]) -> tuple[str, list[Violation]]:
    """Return the value that a request sets, or its violations."""
    asked, wrong = read(request, _Value)
    return "" if asked is None else asked.value, wrong


def _named_once(uses: Sequence[Mapping[str, str]]) -> str | None:
    names = {each["name"] for each in uses}
    return "must not name a secret twice" if len(names) < len(uses) else None


SecretRequests = Annotated[
    tuple[
        Annotated[
            SecretRequest,
            Meta(extra=described('must be an object, such as {"name": "HF_TOKEN", "as": "env"}')),
        ],
        ...,
    ],
    Meta(max_length=MAX_OF_ONE_TASK, extra=also(_named_once)),
]
"""The field `secrets` of a create request."""


def env_fault(uses: Sequence[SecretRequest], env: Collection[str]) -> str | None:
    """Return the reason why a task can't have both these secrets and these variables; `None` if it
    can."""
    for use in uses:
        if use.form is SecretForm.ENV and use.name in env:
            return f"{use.name} is in env too: remove it there, or ask for a file"
    return None


def request_of(uses: Sequence[SecretUse]) -> list[dict[str, str]]:
    """The items of a request that asks for these secrets."""
    return [{"name": each.name, "as": each.form.value} for each in uses]
