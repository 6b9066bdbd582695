"""The user's contract is contained, unchanged, in the description that the server serves."""

import importlib
import pkgutil
import re
from typing import Any

import pytest
from openapi_schema_validator import OAS30Validator

import fetchml.v1
from tests.support.validate import CONTRACT, SUPERSET, resolved

KEYED_ERRORS = {"401", "403", "429", "500", "503"}
"""Statuses that every operation with a key can return in addition to the contract's."""

ELSEWHERE = {"idempotency_key", "view", "validate_only", "task_id", "update_mask", "name"}
"""Fields of gRPC requests that REST has in a header, the path or the query."""


def paths_of(node: Any, at: str = "") -> dict[str, Any]:
    """Return every value of the document by its path. Parameters are keyed by name, and lists of
    words become sets."""
    if isinstance(node, dict):
        found: dict[str, Any] = {}
        for key, child in node.items():
            found |= paths_of(child, f"{at}/{key}")
        return found
    if isinstance(node, list) and node and all(isinstance(item, dict) for item in node):
        found = {}
        for item in node:
            found |= paths_of(item, f"{at}[{item.get('name') or item}]")
        return found
    return {at: sorted(node) if isinstance(node, list) else node}


def missing(superset: dict[str, Any]) -> dict[str, Any]:
    """Return what the contract has and the superset lacks. `superset`: as `paths_of` returns it."""
    return {
        place: value for place, value in paths_of(CONTRACT).items() if superset.get(place) != value
    }


def test_superset_contains_the_contract() -> None:
    assert missing(paths_of(SUPERSET)) == {}


def test_comparison_finds_differences() -> None:
    superset = paths_of(SUPERSET)
    superset["/components/schemas/Task/properties/priority/maximum"] = 11
    del superset["/paths//v1/tasks/get/parameters[limit]/in"]
    assert len(missing(superset)) == 2


def test_superset_requires_nothing_more_of_clients() -> None:
    for path, operations in SUPERSET["paths"].items():
        for method, operation in operations.items():
            known = CONTRACT["paths"].get(path, {}).get(method)
            if known is None or "parameters" not in operation:
                continue
            given = [resolved(SUPERSET, parameter) for parameter in operation["parameters"]]
            required = {parameter["name"] for parameter in given if parameter.get("required")}
            assert required == {
                parameter["name"]
                for parameter in known.get("parameters", [])
                if parameter.get("required")
            }
    for name, schema in CONTRACT["components"]["schemas"].items():
        superset = SUPERSET["components"]["schemas"][name]
        assert superset.get("required") == schema.get("required"), name


@pytest.mark.parametrize("path", SUPERSET["paths"])
def test_operations_with_a_key_declare_their_errors(path: str) -> None:
    for operation in SUPERSET["paths"][path].values():
        if operation.get("security") != []:
            assert operation["responses"].keys() >= KEYED_ERRORS


@pytest.mark.parametrize("path", SUPERSET["paths"])
def test_operations_list_the_parameters_of_their_path(path: str) -> None:
    for operation in SUPERSET["paths"][path].values():
        given = [resolved(SUPERSET, each) for each in operation.get("parameters", [])]
        listed = [each["name"] for each in given if each["in"] == "path"]
        assert sorted(listed) == sorted(re.findall(r"\{(\w+)\}", path))


def test_every_error_has_the_contracts_body() -> None:
    for name, response in SUPERSET["components"]["responses"].items():
        schema = response["content"]["application/json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/ErrorResponse"}, name


@pytest.mark.parametrize("name", SUPERSET["components"]["schemas"])
def test_schemas_are_valid(name: str) -> None:
    OAS30Validator.check_schema(SUPERSET["components"]["schemas"][name])


def test_schemas_have_the_fields_of_their_messages() -> None:
    """A field that is added to the protos only, or to another schema by mistake, is found."""
    messages: dict[str, Any] = {}
    for module in pkgutil.iter_modules(fetchml.v1.__path__):
        if module.name.endswith("_pb2"):
            file = importlib.import_module(f"fetchml.v1.{module.name}").DESCRIPTOR
            messages |= file.message_types_by_name
    schemas = SUPERSET["components"]["schemas"]
    shared = messages.keys() & schemas.keys()
    assert len(shared) > 30
    for name in shared:
        fields = set(messages[name].fields_by_name)
        if name.endswith("Request"):
            fields -= ELSEWHERE - schemas[name]["properties"].keys()
        assert schemas[name]["properties"].keys() == fields, name
