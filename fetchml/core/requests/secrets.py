"""Secrets: their names and values, and how a task asks for them."""

import re
from collections.abc import Collection, Mapping, Sequence

from fetchml.core.model import SecretForm, SecretUse, Value
from fetchml.core.requests.checks import Check, Violation, check_fields, list_of, matching, text

MAX_NAME = 64
MAX_VALUE_BYTES = 64 * 1024
MAX_OF_ONE_TASK = 32
MAX_OF_ONE_USER = 100
MAX_BYTES_OF_ONE_USER = 512 * 1024
"""Values of one user, and so of one task: Linux limits the size of an environment."""
MAX_BYTES = 16 << 20
"""Encrypted values of all users, which are in memory."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_name: Check = matching(_NAME, MAX_NAME, "must be a name of letters, digits and _")
_value: Check = text(MAX_VALUE_BYTES, empty=False)


class Secret(Value, frozen=True):
    """A secret without its value, as its owner gets it."""

    user: str
    name: str
    created_at: int
    updated_at: int


def name_fault(name: object) -> str | None:
    """The fault of a secret's name; `None` if it is valid."""
    if (wrong := _name(name)) is not None:
        return wrong
    if str(name).startswith("FETCHML_"):
        return "must not begin with FETCHML_"
    return None


def value_fault(value: object) -> str | None:
    """The fault of a secret's value, which it does not repeat; `None` if it is valid."""
    if (wrong := _value(value)) is not None:
        return wrong
    if len(str(value).encode()) > MAX_VALUE_BYTES:
        return f"must not be longer than {MAX_VALUE_BYTES} bytes"
    return None


def read_value(request: Mapping[str, object]) -> tuple[str, list[Violation]]:
    """Return the value that a request sets, or its violations."""
    fields, wrong = check_fields(request, {"value": value_fault}, required=("value",))
    return str(fields.get("value", "")), wrong


def _use(value: object) -> str | None:
    if not isinstance(value, dict):
        return 'must be an object, such as {"name": "HF_TOKEN", "as": "env"}'
    if "name" not in value:
        return "must have a name"
    if (wrong := name_fault(value["name"])) is not None:
        return f"name {wrong}"
    if "as" in value and value["as"] not in list(SecretForm):
        return "as must be env or file"
    if unknown := value.keys() - {"name", "as"}:
        return f"must not have {str(min(unknown, key=str))[:80]!r}"
    return None


_uses: Check = list_of(_use)


def rule(value: object) -> str | None:
    """The fault of a request's `secrets`; `None` if they are well-formed."""
    if (fault := _uses(value)) is not None:
        return fault
    given = value if isinstance(value, list) else []
    if len(given) > MAX_OF_ONE_TASK:
        return f"must not have more than {MAX_OF_ONE_TASK} items"
    names = {each["name"] for each in given}
    return "must not name a secret twice" if len(names) < len(given) else None


def env_fault(uses: Sequence[SecretUse], env: Collection[str]) -> str | None:
    """Return the reason why a task can't have both these secrets and these variables; `None` if it
    can."""
    for use in uses:
        if use.form is SecretForm.ENV and use.name in env:
            return f"{use.name} is in env too: remove it there, or ask for a file"
    return None


def request_of(uses: Sequence[SecretUse]) -> list[dict[str, str]]:
    """The items of a request that asks for these secrets."""
    return [{"name": each.name, "as": each.form.value} for each in uses]
