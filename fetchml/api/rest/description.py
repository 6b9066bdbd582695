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


@cache
def description() -> str:
    """Return the YAML text of `openapi.yaml` with its two abbreviations written out.

    `x-errors` of an operation lists only the statuses that not every operation can return. `x-json`
    of a body names the schema of its JSON, the body's only content type.
    """
    return _JSON.sub(_content, _OWN_ERRORS.sub(_responses, SOURCE.read_text()))


def _responses(found: re.Match[str]) -> str:
    indent, own = found.groups()
    statuses = OF_EVERY_OPERATION | {int(status) for status in own.split(",") if status}
    return "".join(
        f"{indent}'{status}':\n{indent}  $ref: '#/components/responses/{ERRORS[status]}'\n"
        for status in sorted(statuses)
    )


def _content(found: re.Match[str]) -> str:
    indent, schema = found.groups()
    return (
        f"{indent}content:\n{indent}  application/json:\n{indent}    schema:\n"
        f"{indent}      $ref: '#/components/schemas/{schema}'\n"
    )
