"""The published definition of OpenADR 3 as tests need it: its YAML read, its schemas applied, its examples found.

Only as much of YAML and JSON Schema as those files use; what is not known here raises instead of passing.
"""

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

_KEY = re.compile(r"""(?P<key>'[^']*'|"[^"]*"|[^\s'"#\[{][^:#]*?):(?:\s+(?P<rest>.*))?$""")
_COMMENT = re.compile(r"""((?:[^'"#]|(?<=\S)#|'[^']*'|"(?:[^"\\]|\\.)*"|(?<=\w)['"])*?)\s+#.*$""")
_FENCED = re.compile(r"^\s*```json\n(.*?)^\s*```", re.DOTALL | re.MULTILINE)
_KNOWN = {
    *("type", "description", "required", "properties", "items", "enum", "minimum", "maximum", "minLength", "maxLength"),
    *("pattern", "format", "nullable", "default", "example", "allOf", "anyOf", "oneOf", "discriminator", "$ref"),
    *("exclusiveMaximum", "minItems", "maxItems", "title", "$id", "$comment"),
}
_TYPES: dict[str, Any] = {"string": str, "boolean": bool, "object": dict, "array": list}


def read_yaml(path: Path) -> Any:
    """A block of YAML as plain values."""
    lines = [line.rstrip() for line in path.read_text().splitlines()]
    value, _ = _block(lines, _next(lines, 0), 0)
    return value


def _next(lines: list[str], at: int) -> int:
    while at < len(lines) and (not lines[at].strip() or lines[at].lstrip().startswith("#")):
        at += 1
    return at


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _block(lines: list[str], at: int, least: int) -> tuple[Any, int]:
    indent = _indent(lines[at])
    assert indent >= least
    if lines[at].lstrip().startswith("- "):
        return _sequence(lines, at, indent)
    if _KEY.match(lines[at].strip()) is None:
        return _scalar_at(lines, at, lines[at].strip(), indent)
    found: dict[str, Any] = {}
    while at < len(lines) and _indent(lines[at]) == indent and not lines[at].lstrip().startswith("- "):
        match = _KEY.match(lines[at].strip())
        assert match is not None, lines[at]
        found[match["key"].strip("'\"")], at = _value(lines, at, match["rest"] or "", indent)
        at = _next(lines, at)
    return found, at


def _sequence(lines: list[str], at: int, indent: int) -> tuple[list[Any], int]:
    found = []
    while at < len(lines) and _indent(lines[at]) == indent and lines[at].lstrip().startswith("- "):
        lines[at] = lines[at].replace("- ", "  ", 1)
        item, at = _block(lines, at, indent)
        found.append(item)
        at = _next(lines, at)
    return found, at


def _value(lines: list[str], at: int, rest: str, indent: int) -> tuple[Any, int]:
    rest = "" if rest.startswith("#") else rest
    if rest == "|":
        return _literal(lines, at + 1, indent)
    if rest:
        return _scalar_at(lines, at, rest, indent)
    below = _next(lines, at + 1)
    nested = below < len(lines) and (
        _indent(lines[below]) > indent or (_indent(lines[below]) == indent and lines[below].lstrip().startswith("- "))
    )
    return _block(lines, below, indent) if nested else (None, below)


def _literal(lines: list[str], at: int, indent: int) -> tuple[str, int]:
    found = []
    while at < len(lines) and (not lines[at] or _indent(lines[at]) > indent):
        found.append(lines[at].strip())
        at += 1
    return "\n".join(found), at


def _scalar_at(lines: list[str], at: int, text: str, indent: int) -> tuple[Any, int]:
    """A scalar, or a flow collection, that may go on in lines that stand deeper."""
    text = _uncommented(text)
    at += 1
    while at < len(lines) and lines[at].strip() and (_indent(lines[at]) > indent or _is_open(text)):
        text += " " + _uncommented(lines[at].strip())
        at += 1
    return _scalar(text), at


def _uncommented(text: str) -> str:
    match = _COMMENT.match(text)
    return text if match is None or text[0] in "'\"" else match[1]


def _is_open(text: str) -> bool:
    return text.startswith("[") and not text.endswith("]")


def _scalar(text: str) -> Any:
    if text.startswith("["):
        return [_scalar(item.strip()) for item in text[1:-1].split(",") if item.strip()]
    if text.startswith('"'):
        return json.loads(text)
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    if text == "{}":
        return {}
    words = {"true": True, "false": False, "null": None}
    if text in words:
        return words[text]
    return json.loads(text) if re.fullmatch(r"-?\d+(\.\d+)?", text) else text


class Definition:
    """The schemas of one version."""

    def __init__(self, folder: Path, version: str) -> None:
        read = read_yaml(folder / version / "openadr3.yaml")
        self.paths: dict[str, Any] = read["paths"]
        # 3.1.1 has a 409 for every object that can be made but the VEN, whose name may be taken all the same.
        taken = self.paths["/programs"]["post"]["responses"]["409"]
        self.paths["/vens"]["post"]["responses"].setdefault("409", taken)
        self._responses: dict[str, Any] = read["components"].get("responses", {})
        self.schemas: dict[str, Any] = read["components"]["schemas"]
        for name, request in (("ven", "BlVenRequest"), ("resource", "BlResourceRequest")):
            if request in self.schemas:
                # 3.1.1 asks for the held object's type and for the request's at once, which nothing can be.
                properties = dict(self.schemas[request]["properties"])
                del properties["objectType"]
                part = {**self.schemas[request], "properties": properties}
                self.schemas[name] = {**self.schemas[name], "allOf": [self.schemas[name]["allOf"][0], part]}

    def check(self, name: str, value: Any) -> None:
        """Raise ``AssertionError`` where ``value`` is not of the schema ``name``."""
        check(value, {"$ref": f"#/components/schemas/{name}"}, self.schemas, "$")

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        """What the definition has for a method on a path, ``None`` where it has nothing; literal steps come first."""
        steps = path.strip("/").split("/")
        fitting = [
            (template.count("{"), item)
            for template, item in self.paths.items()
            if len(own := template.strip("/").split("/")) == len(steps)
            and all(a.startswith("{") or a == b for a, b in zip(own, steps, strict=True))
        ]
        if not fitting:
            return None
        item = min(fitting, key=lambda one: one[0])[1]
        found = item.get(method.lower())
        return (
            None
            if found is None
            else {**found, "parameters": [*found.get("parameters", ()), *item.get("parameters", ())]}
        )

    def check_request(self, method: str, path: str, query: Iterable[tuple[str, str]], body: bytes | None) -> None:
        """Raise ``AssertionError`` for a request that the operation does not have: its parameters, its body."""
        operation = self.operation(method, path)
        assert operation is not None, f"{method} {path} is not in the definition"
        known = {item["name"]: item for item in operation["parameters"] if item["in"] == "query"}
        given = list(query)
        for name, value in given:
            assert name in known, f"{method} {path} has no parameter {name}"
            schema = known[name]["schema"]
            check(_parameter(value, schema), schema.get("items", schema), self.schemas, f"?{name}")
        lacking = {name for name, item in known.items() if item.get("required")} - {name for name, _ in given}
        assert not lacking, f"{method} {path} lacks {lacking}"
        wanted = operation.get("requestBody")
        assert (wanted is None) == (not body), f"{method} {path}: a body where there is none, or none"
        if wanted is not None:
            check(json.loads(body or b""), _json_schema(wanted), self.schemas, "$")

    def check_response(self, method: str, path: str, status: int, body: bytes) -> None:
        """Raise ``AssertionError`` for an answer that the operation does not have: its status, its body."""
        operation = self.operation(method, path)
        assert operation is not None, f"{method} {path} is not in the definition"
        said = operation["responses"].get(str(status))
        assert said is not None, f"{method} {path} does not answer {status}"
        if "$ref" in said:
            said = self._responses[said["$ref"].rpartition("/")[2]]
        check(json.loads(body), _json_schema(said), self.schemas, "$")

    def example(self, name: str) -> Any:
        """An object with the example of everything that the schema has."""
        return _example(self.schemas[name], self.schemas)


def _json_schema(said: dict[str, Any]) -> dict[str, Any]:
    """Of a body. Problems are of application/problem+json by some versions."""
    content = said["content"]
    return next(item["schema"] for name, item in content.items() if name.endswith("json"))


def _parameter(value: str, schema: dict[str, Any]) -> Any:
    """A query parameter as its type has it; the text where it is not of it, which the check then refuses."""
    if schema.get("type") in {"integer", "number", "boolean"}:
        with suppress(ValueError):
            return json.loads(value)
    return value


def check(value: Any, schema: dict[str, Any], schemas: dict[str, Any], at: str) -> None:
    assert schema.keys() <= _KNOWN, schema.keys() - _KNOWN
    if "$ref" in schema:
        check(value, schemas[schema["$ref"].rpartition("/")[2]], schemas, at)
        return
    if value is None and schema.get("nullable"):
        return
    for part in schema.get("allOf", ()):
        check(value, part, schemas, at)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            fits = sum(_fits(value, part, schemas, at) for part in schema[word])
            # The definition's oneOf are told apart by a discriminator, so that more than one may fit.
            assert fits, f"{at}: none of {word} fits {value!r}"
    _check_simple(value, schema, at)
    if isinstance(value, dict):
        for key in schema.get("required", ()):
            assert key in value, f"{at} lacks {key}"
        for key, part in schema.get("properties", {}).items():
            if key in value:
                check(value[key], part, schemas, f"{at}.{key}")
    if isinstance(value, list):
        assert schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)), at
        for index, item in enumerate(value):
            check(item, schema.get("items", {}), schemas, f"{at}[{index}]")


def _fits(value: Any, schema: dict[str, Any], schemas: dict[str, Any], at: str) -> bool:
    try:
        check(value, schema, schemas, at)
    except AssertionError:
        return False
    return True


def _check_simple(value: Any, schema: dict[str, Any], at: str) -> None:
    kind = schema.get("type")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind in {"number", "integer"}:
        assert number, f"{at}: {value!r} is no number"
        assert kind == "number" or float(value).is_integer(), f"{at}: {value!r} is not whole"
        assert schema.get("minimum", value) <= value <= schema.get("maximum", value), f"{at}: {value!r}"
        assert not schema.get("exclusiveMaximum") or value < schema["maximum"], f"{at}: {value!r}"
        assert schema.get("format") != "int32" or -(1 << 31) <= value < 1 << 31, f"{at}: {value!r}"
    elif kind is not None:
        assert isinstance(value, _TYPES[kind]), f"{at}: {value!r} is no {kind}"
    if isinstance(value, str):
        assert schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)), f"{at}: {value!r}"
        assert "pattern" not in schema or re.search(schema["pattern"], value), f"{at}: {value!r}"
        if schema.get("format") == "date-time":
            assert datetime.fromisoformat(value).tzinfo is not None, f"{at}: {value!r}"
    assert "enum" not in schema or value in schema["enum"], f"{at}: {value!r} is not in {schema['enum']}"


def _example(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if schema.get("example") is not None and "oneOf" not in schema:
        return schema["example"]
    if "allOf" in schema:
        return {key: value for part in schema["allOf"] for key, value in _example(part, schemas).items()}
    for several in (schema.get("anyOf"), schema.get("oneOf")):
        if several:
            return _example(several[0], schemas)
    if schema.get("type") == "array":
        return [_example(schema["items"], schemas)]
    if "properties" in schema:
        return {key: _example(part, schemas) for key, part in schema["properties"].items()}
    return schema.get("enum", ["text"])[0]


def examples(path: Path) -> list[str]:
    """The JSON examples of a document, as they stand there."""
    return _FENCED.findall(path.read_text())
