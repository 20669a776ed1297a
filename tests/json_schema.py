"""The few words of JSON Schema that the schemas of configurations use, for tests that hold code to them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["allowed", "schema_of"]

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}


def schema_of(codec: str) -> dict[str, Any]:
    """The schema of a codec's configuration."""
    path = Path(__file__).resolve().parents[1] / "codecs" / "schema" / f"{codec}.json"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def allowed(data: Any, schema: dict[str, Any], whole: dict[str, Any] | None = None) -> bool:
    """Whether a schema, a part of the whole one, allows a value."""
    whole = schema if whole is None else whole
    if "$ref" in schema:
        return allowed(data, whole["$defs"][schema["$ref"].rsplit("/", 1)[1]], whole)
    if "oneOf" in schema:
        return sum(allowed(data, each, whole) for each in schema["oneOf"]) == 1
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(_is_type(data, kind) for kind in kinds) or ("enum" in schema and data not in schema["enum"]):
        return False
    if isinstance(data, dict):
        known = schema["properties"]
        extra = set(data) - set(known)
        return (
            set(schema["required"]) <= set(data)
            and (not extra or schema.get("additionalProperties", True))
            and all(allowed(value, known[key], whole) for key, value in data.items() if key in known)
        )
    if isinstance(data, list):
        distinct = not schema.get("uniqueItems") or len({json.dumps(item) for item in data}) == len(data)
        size = schema.get("minItems", 0) <= len(data) <= schema.get("maxItems", len(data))
        return distinct and size and all(allowed(item, schema["items"], whole) for item in data)
    if isinstance(data, str):
        return re.search(schema.get("pattern", ""), data) is not None
    if data is None or isinstance(data, bool):
        return True
    over, under = schema.get("exclusiveMinimum", -np.inf), schema.get("exclusiveMaximum", np.inf)
    return bool(
        over < data < under and schema.get("minimum", -np.inf) <= data <= schema.get("maximum", np.inf)
    )


def _is_type(data: object, name: str) -> bool:
    return isinstance(data, _TYPES[name]) and (name == "boolean" or not isinstance(data, bool))
