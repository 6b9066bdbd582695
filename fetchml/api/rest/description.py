"""The OpenAPI description of the REST interface, as it is served at `/openapi.yaml`."""

import re
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("openapi.yaml")

ERRORS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    408: "BodyTimeout",
    409: "Conflict",
    413: "BodyTooLarge",
    416: "RangeNotSatisfiable",
    422: "ValidationError",
    429: "RateLimited",
    500: "InternalError",
    503: "Unavailable",
}
"""HTTP status → name in the description's `components/responses`."""

OF_EVERY_OPERATION = {401, 403, 429, 500, 503}
"""Statuses that every operation with a key can return."""

_OWN_ERRORS = re.compile(r"^( +)x-errors: \[([\d, ]*)\]\n", re.MULTILINE)
_JSON = re.compile(r"^( +)x-json: (\w+)\n", re.MULTILINE)
_EXAMPLE = re.compile(r"^( +)x-example:\n((?:\1  .*\n)+)", re.MULTILINE)
_PATH = re.compile(r"^  /.*\n(?:    .*\n|\n)+", re.MULTILINE)
_OPERATION = re.compile(r"^    \w+:\n(?:      .*\n|\n)+", re.MULTILINE)
_TRACE_ID = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"


@cache
def description() -> str:
    """Return the YAML text of `openapi.yaml` with its abbreviations written out.

    `x-errors` of an operation lists only the statuses that not every operation can return. `x-json`
    of a body names the schema of its JSON, the body's only content type. `x-example` of an error is
    an example of its body, which has a trace id besides. A parameter in a path that its operation
    does not list is any text.
    """
    text = _PATH.sub(_path, _EXAMPLE.sub(_error, SOURCE.read_text()))
    return _JSON.sub(_content, _OWN_ERRORS.sub(_responses, text))


def _path(found: re.Match[str]) -> str:
    names = re.findall(r"\{(\w+)\}", found[0].partition("\n")[0])
    return _OPERATION.sub(lambda operation: _with_parameters(operation[0], names), found[0])


def _with_parameters(operation: str, names: list[str]) -> str:
    added = "".join(
        f"      - name: {name}\n        in: path\n        required: true\n"
        "        schema:\n          type: string\n"
        for name in names
        if f"- name: {name}\n        in: path\n" not in operation
    )
    head = "      parameters:\n"
    if not added or head in operation:
        return operation.replace(head, head + added)
    return operation + head + added


def _responses(found: re.Match[str]) -> str:
    indent, own = found.groups()
    statuses = OF_EVERY_OPERATION | {int(status) for status in own.split(",") if status}
    return "".join(
        f"{indent}'{status}':\n{indent}  $ref: '#/components/responses/{ERRORS[status]}'\n"
        for status in sorted(statuses)
    )


def _content(found: re.Match[str]) -> str:
    return _content_of(*found.groups())


def _content_of(indent: str, schema: str) -> str:
    return (
        f"{indent}content:\n{indent}  application/json:\n{indent}    schema:\n"
        f"{indent}      $ref: '#/components/schemas/{schema}'\n"
    )


def _error(found: re.Match[str]) -> str:
    indent, example = found.groups()
    shown = (
        example.replace(f"{indent}  ", f"{indent}      ") + f"{indent}      trace_id: {_TRACE_ID}\n"
    )
    return _content_of(indent, "ErrorResponse") + f"{indent}    example:\n{shown}"
