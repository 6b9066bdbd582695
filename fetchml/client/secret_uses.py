"""Short forms of the secrets that a task gets."""

from typing import Any

from fetchml.v1.task_pb2 import SecretUse


def secret_use(given: str | SecretUse) -> SecretUse:
    """Return the use that `NAME`, `NAME:env` or `NAME:file` describes. Raises ValueError."""
    if isinstance(given, SecretUse):
        return given
    name, colon, form = given.partition(":")
    if form not in (("env", "file") if colon else ("",)):
        raise ValueError(f"{given!r} is not NAME, NAME:env or NAME:file")
    # `as` is no name that Python code can write.
    described: dict[str, Any] = {"name": name, "as": SecretUse.Form.Value(form or "env")}
    return SecretUse(**described)
