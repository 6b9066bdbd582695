"""Validates replies against the superset (the served description) and the contract."""

import re
from pathlib import Path
from typing import Any

import msgspec
import yaml
from openapi_schema_validator import OAS30Validator, oas30_format_checker

from fetchml.api.rest.status import OPENAPI

ROOT = Path(__file__).parents[2]
SUPERSET = yaml.load(OPENAPI.read_text(), yaml.CSafeLoader)
CONTRACT = yaml.load((ROOT / "tests/contract/openapi.yaml").read_text(), yaml.CSafeLoader)
ERROR = {"$ref": "#/components/schemas/ErrorResponse"}


def check_reply(
    method: str, path: str, status: int, content_type: str, body: bytes, *, full: bool = False
) -> None:
    """A reply is one that the superset declares for its operation, and has no other fields.

    A basic one has no field that is not the contract's, where the contract has the operation.
    """
    operation = _operation(SUPERSET, method, path)
    if operation is None:
        check_error(body)
        return
    assert str(status) in operation["responses"], f"{method} {path} declares no {status}"
    _check(SUPERSET, operation, status, content_type, body)
    known = _operation(CONTRACT, method, path)
    if not full and known is not None and str(status) in known["responses"]:
        _check(CONTRACT, known, status, content_type, body)


def check_error(body: bytes) -> None:
    validate(SUPERSET, ERROR, msgspec.json.decode(body))


def validate(document: Any, schema: Any, value: object) -> None:
    OAS30Validator(_closed(document, schema), format_checker=oas30_format_checker).validate(value)


def resolved(document: Any, node: Any) -> Any:
    """Return the node, or the node that it references."""
    while "$ref" in node:
        target = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def _operation(document: Any, method: str, path: str) -> Any:
    # The most specific path first: no parameter beats a parameter.
    for template in sorted(document["paths"], key=lambda text: text.count("{")):
        pattern = re.sub(r"\{path\}", ".+", re.sub(r"\{(?!path)\w+\}", "[^/]+", template))
        if re.fullmatch(pattern, path, re.DOTALL):
            return document["paths"][template].get(method.lower())
    return None


def _check(document: Any, operation: Any, status: int, content_type: str, body: bytes) -> None:
    content = resolved(document, operation["responses"][str(status)]).get("content")
    if content is None:
        assert body == b""
        return
    kind = content_type.partition(";")[0]
    assert kind in content, f"{kind} is not declared"
    if kind == "application/json":
        validate(document, content[kind]["schema"], msgspec.json.decode(body))


def _closed(document: Any, schema: Any) -> Any:
    """Return the schema with references resolved and additional properties forbidden."""
    schema = dict(resolved(document, schema))
    if "properties" in schema:
        schema["additionalProperties"] = False
        schema["properties"] = {
            name: _closed(document, child) for name, child in schema["properties"].items()
        }
    if "items" in schema:
        schema["items"] = _closed(document, schema["items"])
    return schema
