"""Write the table of fields of docs/inferencejob.md from the models: ``python tools/job_page.py [--check]``.

It is made from the CRD that is made from them, so the page says what the API server checks and ``kubectl explain``
tells.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from inferstack.api import constants, crds
from inferstack.project import project_root

PAGE = "docs/inferencejob.md"
BEGIN, END = "<!-- fields: made by tools/job_page.py -->", "<!-- end of fields -->"
_WORDS = {
    constants.MODEL_PATTERN: "name or organisation/name",
    constants.SUBDOMAIN_PATTERN: "a DNS name in lower case",
    constants.NAME_PATTERN: "letters, digits and dashes, a letter first",
    constants.LABEL_KEY_PATTERN: "the key of a label",
    constants.CACHE_PATH_PATTERN: "an absolute path",
    constants.DATA_KEY_PATTERN: "letters, digits, dots, dashes, underscores",
    constants.ENV_NAME_PATTERN: "letters, digits, underscores",
    constants.QUANTITY_PATTERN: "a quantity such as `500m` or `16Gi`",
    constants.REASON_PATTERN: "one word",
    constants.PERCENT_PATTERN: "`1%` to `100%`",
}
"""Patterns that are easier said than read; others are shown as they are."""
_HEAD = "| field | type | default | meaning |\n|---|---|---|---|"

Schema = dict[str, Any]


def make_tables() -> str:
    """Return a table for the spec and one for the status."""
    schema = crds()[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    sections = []
    for part, heading in (("spec", "### spec"), ("status", "### status")):
        rows = [_row(*cells) for cells in fields(schema["properties"][part], part)]
        sections.append("\n".join([heading, "", _HEAD, *rows]))
    return "\n\n".join(sections)


def fields(schema: Schema, path: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield path, type, default and meaning of each field below an object, in the order of the models."""
    for name, child in schema["properties"].items():
        below = f"{path}.{name}"
        default = "required" if name in schema.get("required", []) else _default(child)
        yield below, describe(child), default, child.get("description", "")
        inner, suffix = (child["items"], "[]") if child.get("type") == "array" else (child, "")
        if "properties" in inner:
            yield from fields(inner, below + suffix)


def describe(schema: Schema) -> str:
    """Return what a value may be, in words."""
    if schema.get("x-kubernetes-int-or-string"):
        return f"integer{_bounds(schema)}; or string{_shape(schema)}"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    match schema["type"]:
        case "string":
            return f"string{_shape(schema)}"
        case "integer":
            return f"integer{_bounds(schema)}"
        case "array":
            keys = schema.get("x-kubernetes-list-map-keys")
            inside = "objects" if "properties" in schema["items"] else f"{schema['items']['type']}s"
            unique = f", unique by {', '.join(keys)}" if keys else ""
            return f"list of {_some(schema, 'Items')}{inside}{unique}"
        case "object" if "additionalProperties" in schema:
            return f"mapping of {_some(schema, 'Properties')}names to: {describe(schema['additionalProperties'])}"
        case other:
            return str(other)


def _bounds(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None:
        return ""
    return f", {low} or more" if high is None else f", {low} to {high}"


def _shape(schema: Schema) -> str:
    limits = [f"at most {schema['maxLength']} characters"] if "maxLength" in schema else []
    limits += [_WORDS.get(pattern, f"`{pattern}`")] if (pattern := schema.get("pattern")) else []
    limits += [schema["format"]] if "format" in schema else []
    return "".join(f", {text}" for text in limits)


def _some(schema: Schema, what: str) -> str:
    low, high = schema.get(f"min{what}"), schema.get(f"max{what}")
    if low is not None:
        return f"{low} to {high} "
    return "" if high is None else f"at most {high} "


def _default(schema: Schema) -> str:
    # An object's own default is that of its fields, which have rows of their own.
    return f"`{json.dumps(schema['default'])}`" if "default" in schema and schema.get("type") != "object" else ""


def _row(field: str, *cells: str) -> str:
    *others, text = (cell.replace("|", "\\|") for cell in cells)
    # Outside of code a bracket would begin a tag.
    return f"| {' | '.join([f'`{field}`', *others, text.replace('<', chr(92) + '<')])} |"


def main(arguments: list[str]) -> int:
    """Write the tables, or with ``--check`` tell whether they are current."""
    page = project_root() / PAGE
    text = page.read_text()
    head, opened, rest = text.partition(BEGIN)
    _, closed, tail = rest.partition(END)
    if not (opened and closed):
        sys.stderr.write(f"{PAGE}: the lines {BEGIN} and {END} are missing\n")
        return 1
    fresh = f"{head}{BEGIN}\n{make_tables()}\n{END}{tail}"
    if "--check" in arguments:
        if fresh != text:
            sys.stderr.write(f"{PAGE}: the tables are not current; run `python tools/job_page.py`\n")
        return int(fresh != text)
    page.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
