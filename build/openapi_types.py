"""Generate the page's types of the API: `openapi_types.py > web/src/api/types.ts`.

Each schema of openapi.yaml becomes a type. `Operations` has the query, the body and the reply of
each operation, by method and path.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

OPENAPI = Path(__file__).parents[1] / "fetchml/api/rest/openapi.yaml"
METHODS = ("get", "post", "put", "patch", "delete")
HEAD = "// Generated from openapi.yaml by build/openapi_types.py: do not edit, do not commit.\n"

Json = dict[str, Any]


def type_of(schema: Json, indent: str = "") -> str:
    """Return the TypeScript type of a schema."""
    if reference := schema.get("$ref"):
        return str(reference).rpartition("/")[2]
    for several, joint in (("oneOf", " | "), ("anyOf", " | "), ("allOf", " & ")):
        if several in schema:
            return joint.join(f"({type_of(one, indent)})" for one in schema[several])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    match schema.get("type"):
        case "string":
            return "Blob" if schema.get("format") == "binary" else "string"
        case "integer" | "number":
            return "number"
        case "boolean":
            return "boolean"
        case "array":
            return f"Array<{type_of(schema.get('items', {}), indent)}>"
        case "object":
            return object_type(schema, indent)
    return "unknown"


def object_type(schema: Json, indent: str) -> str:
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties")
    if not properties:
        value = type_of(others, indent) if isinstance(others, dict) else "unknown"
        return f"Record<string, {value}>"
    inner = indent + "  "
    lines = ["{"]
    for name, value in properties.items():
        lines += described(value, inner)
        optional = "" if name in schema.get("required", ()) else "?"
        lines.append(f"{inner}{key(name)}{optional}: {type_of(value, inner)};")
    return "\n".join([*lines, indent + "}"])


def described(schema: Json, indent: str) -> Iterator[str]:
    text = " ".join(str(schema.get("description", "")).split()).replace("*/", "* /")
    if text:
        yield f"{indent}/** {text} */"


def key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_]\w*", name) else json.dumps(name)


def operation_type(document: Json, path: Json, operation: Json) -> str:
    """Return the type of one operation: what it takes and what it returns."""
    given = [*path.get("parameters", []), *operation.get("parameters", [])]
    parameters = [resolved(document, one) for one in given]
    query = {
        "type": "object",
        "properties": {one["name"]: one["schema"] for one in parameters if one["in"] == "query"},
        "required": [one["name"] for one in parameters if one.get("required")],
    }
    replies: Json = operation["responses"]
    success = next((replies[code] for code in replies if str(code).startswith("2")), Json())
    parts = {
        "query": object_type(query, "    ") if query["properties"] else "Record<string, never>",
        "body": content_type(document, operation.get("requestBody", {})),
        "reply": content_type(document, success),
    }
    return "{\n" + "".join(f"    {name}: {value};\n" for name, value in parts.items()) + "  }"


def content_type(document: Json, body: Json) -> str:
    content = resolved(document, body).get("content", {})
    for media, value in content.items():
        return type_of(value.get("schema", {}), "    ") if "json" in media else "Blob"
    return "undefined"


def resolved(document: Json, value: Json) -> Json:
    found = document
    if reference := value.get("$ref"):
        for part in str(reference).removeprefix("#/").split("/"):
            found = found[part]
        return found
    return value


def typescript(document: Json) -> Iterator[str]:
    yield HEAD
    for name, schema in document["components"]["schemas"].items():
        yield "\n".join([*described(schema, ""), f"export type {name} = {type_of(schema)};\n"])
    yield "export interface Operations {"
    for path, item in document["paths"].items():
        for method in METHODS:
            if operation := item.get(method):
                name = json.dumps(f"{method.upper()} {path}")
                yield f"  {name}: {operation_type(document, item, operation)};"
    yield "}\n"


def main() -> None:
    document = yaml.load(OPENAPI.read_text(), yaml.CSafeLoader)
    sys.stdout.write("\n".join(typescript(document)))


if __name__ == "__main__":
    main()
