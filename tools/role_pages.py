"""Write the variables tables of docs/roles from the settings: ``python tools/role_pages.py [--check]``.

Keys, defaults and texts come from components/<role>/defaults.yaml, types from the settings models, the platform's own
keys from Pulumi.yaml, so that a page cannot say what the program does not read.
"""

from __future__ import annotations

import datetime
import enum
import importlib
import json
import re
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from annotated_types import Ge, Le
from pydantic import BaseModel, BeforeValidator, StringConstraints
from pydantic.fields import FieldInfo

from components.cluster.settings import Place
from components.platform.settings import ROLES, PlatformSettings
from components.settings import PROJECT, DnsLabel, variables
from inferstack.apimachinery.model import field_description
from inferstack.project import project_root

BEGIN, END = "<!-- variables: made by tools/role_pages.py -->", "<!-- end of variables -->"
INDEX_BEGIN, INDEX_END = "<!-- roles: made by tools/role_pages.py -->", "<!-- end of roles -->"
PAGES = ("platform", *ROLES)
TITLES = {
    "NodeGroup": "A group of nodes",
    "Nic": "A kind of network device",
    "JobMetadata": "The metadata of a job",
    "AccessEntry": "An access entry",
    "Authentication": "An authentication",
    "GpuNodes": "A group of GPU nodes on EKS",
    "Upstream": "An upstream registry",
    "ExtraNic": "A NIC of your own",
    "NicSelector": "A choice of ports",
}
"""Headings of models whose class name does not read well after "A"."""
_HEAD = "| key | type | default | unit, meaning, reason |\n|---|---|---|---|"


def make_table(role: str) -> str:
    """Return the tables of a role: its variables, then those of each model that they hold."""
    if role == "platform":
        return _project_table()
    model = typing.get_type_hints(PlatformSettings)[role]
    rows, below = [_HEAD], []
    for variable in variables(role):
        hint = _hint_at(model, variable.path.split("."))
        rows.append(_row(variable.path, describe(hint), f"`{_flow(variable.default)}`", variable.text))
        below += [inner_model for inner_model in models_in(hint) if inner_model not in below]
    sections = ["\n".join(rows)]
    # The list grows while it is read: models hold models.
    for nested in below:
        sections.append(_section(nested))
        below += [
            inner_model
            for hint in _hints(nested).values()
            for inner_model in models_in(hint)
            if inner_model not in below
        ]
    return "\n\n".join(sections)


def describe(hint: Any) -> str:
    """Return a type in words: what a user may write."""
    if hint == DnsLabel:
        return "name"
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _constrained(describe(inside[0]), inside[1:])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe(member) for member in inside)
    if origin is Literal:
        return _either(inside)
    if origin is dict:
        return f"mapping of {_plural(describe(inside[0]))} to {describe(inside[1])}"
    if origin in (list, tuple):
        return f"list of {_plural(describe(inside[0]))}"
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _either([member.value for member in hint])
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return f"[{title(hint).lower()}](#{title(hint).lower().replace(' ', '-')})"
    plain = {bool: "true or false", int: "integer", str: "string", datetime.date: "day", type(None): "null"}
    return {**plain, Any: "anything"}[hint]


def title(model: type[BaseModel]) -> str:
    """Return the heading of a model's table."""
    words = re.sub(r"(?<!^)(?=[A-Z])", " ", model.__name__).lower()
    return TITLES.get(model.__name__, f"A {words}")


def models_in(hint: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that a type is made of."""
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        yield hint
    for inside in typing.get_args(hint):
        yield from models_in(inside)


def make_index() -> str:
    """Return the table of roles in the order in which they come up."""
    rows = ["| role | what it is | variables |", "|---|---|---|"]
    for role in PAGES:
        # The first paragraph only: a blank line would end the table.
        what = " ".join((importlib.import_module(f"components.{role}").__doc__ or "").split("\n\n")[0].split())
        number = len(_declared()) if role == "platform" else len(variables(role))
        rows.append(f"| [{role}]({role}.md) | {what} | {number} |")
    return "\n".join(rows)


def _project_table() -> str:
    rows = [_HEAD]
    for key, entry in _declared().items():
        default = f"`{_flow(entry['default'])}`" if "default" in entry else "required"
        kind = describe(Place) if key == "place" else f"[{key}]({key}.md)"
        rows.append(_row(f"{PROJECT}:{key}", kind, default, f"{entry['description']}."))
    return "\n".join(rows)


def _declared() -> dict[str, dict[str, Any]]:
    declared: dict[str, dict[str, Any]] = yaml.safe_load((project_root() / "Pulumi.yaml").read_text())["config"]
    return declared


def _section(model: type[BaseModel]) -> str:
    rows = [f"### {title(model)}\n\n{(model.__doc__ or '').strip()}\n", _HEAD]
    hints = _hints(model)
    for name, field in model.model_fields.items():
        text = " ".join((field_description(model, name) or "").split())
        rows.append(_row(field.alias or name, describe(hints[name]), _default(field), text))
    return "\n".join(rows)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True, validated_data={})
    return "see there" if isinstance(default, BaseModel) else f"`{_flow(default)}`"


def _hints(model: type[BaseModel]) -> dict[str, Any]:
    hints = typing.get_type_hints(model, include_extras=True)
    return {name: hints[name] for name in model.model_fields}


def _hint_at(model: type[BaseModel], path: list[str]) -> Any:
    hints = _hints(model)
    name = next(name for name, field in model.model_fields.items() if (field.alias or name) == path[0])
    return _hint_at(hints[name], path[1:]) if path[1:] else hints[name]


def _constrained(base: str, metadata: tuple[Any, ...]) -> str:
    """Return a type with its bounds, or by the name of the function that reads it."""
    flat = [
        constraint for item in metadata for constraint in (item.metadata if isinstance(item, FieldInfo) else [item])
    ]
    for constraint in flat:
        if isinstance(constraint, BeforeValidator):
            return str(getattr(constraint.func, "__name__", base)).lstrip("_").replace("_", " ")
        if isinstance(constraint, StringConstraints) and constraint.pattern:
            return f"{base} `{constraint.pattern}`"
    lowest = next((constraint.ge for constraint in flat if isinstance(constraint, Ge)), None)
    highest = next((constraint.le for constraint in flat if isinstance(constraint, Le)), None)
    if lowest is not None and highest is not None:
        return f"{base}, {lowest} to {highest}"
    return base if lowest is None else f"{base}, {lowest} or more"


def _plural(kind: str) -> str:
    return f"{kind}s" if kind.isalpha() else kind


def _either(values: typing.Iterable[Any]) -> str:
    return " or ".join(f"`{value}`" for value in values)


def _flow(value: Any) -> str:
    """Return a value as one line of YAML."""
    if isinstance(value, str):
        return json.dumps(value) if value != value.strip() or not value else value
    if not isinstance(value, dict | list | tuple):
        return json.dumps(value)
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=sys.maxsize).strip()


def _row(*cells: str) -> str:
    key, *rest = cells
    escaped = [cell.replace("|", "\\|") for cell in rest]
    # Outside of code a bracket would begin a tag.
    escaped[-1] = escaped[-1].replace("<", "\\<")
    return f"| `{key}` | {' | '.join(escaped)} |"


def filled(text: str, begin: str, end: str, content: str) -> str:
    """Return ``text`` with ``content`` between the markers; a page without them is an error of its writer."""
    head, opening, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not opening or not closed:
        raise ValueError(f"the lines {begin} and {end} are missing")
    return f"{head}{begin}\n{content}\n{end}{tail}"


def main(arguments: list[str]) -> int:
    """Write the tables, or with ``--check`` tell whether they are current."""
    folder = project_root() / "docs" / "roles"
    fresh: dict[Path, tuple[str, str, str]] = {folder / f"{role}.md": (BEGIN, END, make_table(role)) for role in PAGES}
    fresh[folder / "README.md"] = (INDEX_BEGIN, INDEX_END, make_index())
    wrong = 0
    for path, parts in fresh.items():
        name = path.relative_to(project_root())
        try:
            old = path.read_text()
            new = filled(old, *parts)
        except (FileNotFoundError, ValueError) as error:
            sys.stderr.write(f"{name}: cannot be filled in ({error}); write the page first\n")
            wrong += 1
            continue
        if "--check" not in arguments:
            path.write_text(new)
        elif new != old:
            sys.stderr.write(f"{name}: the table is not current; run `python tools/role_pages.py`\n")
            wrong += 1
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
