"""The user's contract is contained, unchanged, in the description that the server serves."""

from typing import Any

import pytest
from openapi_schema_validator import OAS30Validator

from tests.support.validate import CONTRACT, SUPERSET, resolved

KEYED_ERRORS = {"401", "403", "429", "500", "503"}
"""What every operation that needs a key can answer beside what the contract says."""


def paths_of(node: Any, at: str = "") -> dict[str, Any]:
    """Every value in the document by its place. Parameters are named, lists of words are sets."""
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
    """What the contract says and the superset, as `paths_of` gives it, does not."""
    return {
        place: value for place, value in paths_of(CONTRACT).items() if superset.get(place) != value
    }


def test_superset_says_all_that_the_contract_says() -> None:
    assert missing(paths_of(SUPERSET)) == {}


def test_a_difference_is_noticed() -> None:
    superset = paths_of(SUPERSET)
    superset["/components/schemas/Task/properties/priority/maximum"] = 11
    del superset["/paths//v1/tasks/get/parameters[limit]/in"]
    assert len(missing(superset)) == 2


def test_nothing_more_is_required_of_a_client() -> None:
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
def test_every_operation_with_a_key_declares_what_it_can_refuse(path: str) -> None:
    for operation in SUPERSET["paths"][path].values():
        if operation.get("security") != []:
            assert operation["responses"].keys() >= KEYED_ERRORS


def test_every_error_has_the_contracts_body() -> None:
    for name, response in SUPERSET["components"]["responses"].items():
        schema = response["content"]["application/json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/ErrorResponse"}, name


@pytest.mark.parametrize("name", SUPERSET["components"]["schemas"])
def test_schemas_are_schemas(name: str) -> None:
    OAS30Validator.check_schema(SUPERSET["components"]["schemas"][name])
