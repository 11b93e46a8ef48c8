"""Settings of a role: its ``defaults.yaml`` overlaid with the stack's values, validated before anything is registered.

Precedence, lowest first: ``defaults.yaml`` < stack file < ``--config`` (Pulumi writes ``--config`` into the stack's
configuration before the program runs). Mappings are merged key by key at every depth; lists,
numbers, strings and ``null`` replace the earlier value.

All errors are reported at once and name the key as the user writes it (``inferstack:gpu.mig.strategy``).
"""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from inferstack.apimachinery import yamltext
from inferstack.apimachinery.model import CamelModel, field_description
from inferstack.errors import UserError

PROJECT = "inferstack"
"""Namespace of the project's configuration keys."""

DnsLabel = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
"""A DNS label (RFC 1123), as for namespaces and parts of node names."""

Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=10, max_length=500)]
"""The reason for an exception: a sentence that a reviewer can judge, not just "ok"."""

Location = tuple[str | int, ...]


class RoleSettings(CamelModel):
    """Base of all settings: immutable, rejects unknown keys, keys in camelCase as in Kubernetes."""


Model = TypeVar("Model", bound=BaseModel)


class Variable(NamedTuple):
    """One documented variable of a role."""

    path: str
    """Dotted key below the role: ``mig.strategy``."""
    default: Any
    text: str
    """The comment above the key: unit, meaning and reason for the default."""


def load_role(role: str, model: type[Model], given: Mapping[str, Any] | None) -> Model:
    """Return the settings of ``role``: its defaults overlaid with the stack's values.

    Args:
        role: folder name below ``components``.
        model: the role's settings model.
        given: the stack's object for the role, or None if the stack has none.

    Raises:
        UserError: a value is invalid; the message has the full path of each invalid key.
    """
    if given is not None and not isinstance(given, Mapping):
        raise UserError(f"{PROJECT}:{role}: expected a mapping of settings, got {_shown(given)}.")
    defaults = yamltext.parse(defaults_file(role).read_text()) or {}
    return validate(model, merge(defaults, given or {}), f"{PROJECT}:{role}", role)


def defaults_file(role: str) -> Path:
    """Return the file with the role's documented defaults."""
    return Path(__file__).parent / role / "defaults.yaml"


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Overlay ``over`` on ``base``: mappings are merged at every depth, all other values are replaced."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged


def validate(model: type[Model], value: Mapping[str, Any], prefix: str, role: str | None = None) -> Model:
    """Return ``value`` as a ``model``; ``prefix`` is the key path of ``value`` itself.

    With ``role``, errors quote the comments in its ``defaults.yaml``.

    Raises:
        UserError: a value is invalid; the message has one line for each invalid key.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        wrong: dict[Location, list[ErrorDetails]] = {}
        for detail in error.errors(include_url=False):
            wrong.setdefault(_written(detail, value), []).append(detail)
    texts = {variable.path: variable.text for variable in variables(role)} if role else {}
    raise UserError("\n".join(_explain(model, at, details, prefix, texts) for at, details in wrong.items()))


def find_encrypted(value: Any, key: str) -> Iterator[str]:
    """Yield the keys of encrypted values. The engine writes them as a mapping with the single key ``secure``.

    Args:
        value: as in the stack file.
        key: path of the value.
    """
    if isinstance(value, Mapping):
        if set(value) == {"secure"} and isinstance(value["secure"], str):
            yield key
        for name, below in value.items():
            yield from find_encrypted(below, key_path(key, (str(name),)))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from find_encrypted(below, key_path(key, (index,)))


def refuse_encrypted(keys: Iterable[str]) -> None:
    """Reject encrypted settings: roles write settings in plain text to the state and the cluster.

    Args:
        keys: of the encrypted settings.

    Raises:
        UserError: there is an encrypted setting.
    """
    wrong = [
        f"{key}: is encrypted, or something in it is; what is made of it everybody could read. Keep it in a Secret of "
        "the cluster and name that, as docs/state.md tells."
        for key in keys
    ]
    if wrong:
        raise UserError("\n".join(wrong))


def key_path(prefix: str, location: Sequence[str | int]) -> str:
    """Return the path that a user writes: ``prefix.jobs[0].spec.model``, or ``["nvidia.com/gpu"]`` for special keys."""
    path = prefix
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.replace("-", "_").isidentifier():
            path += f".{part}"
        else:
            path += f'["{part}"]'
    return path


def _written(detail: ErrorDetails, value: Any) -> Location:
    """Return the location of an error in the user's keys, without pydantic's names for members of a union."""
    written: list[str | int] = []
    for part in detail["loc"]:
        listed = isinstance(value, list | tuple) and isinstance(part, int)
        inside = part in value if isinstance(value, Mapping) else listed
        if inside:
            value = value[part]
        elif detail["type"] != "missing" or part != detail["loc"][-1]:
            continue
        written.append(part)
    return tuple(written)


def _explain(
    model: type[BaseModel], location: Location, details: list[ErrorDetails], prefix: str, texts: Mapping[str, str]
) -> str:
    path = key_path(prefix, location)
    kinds = {detail["type"] for detail in details}
    if "extra_forbidden" in kinds:
        names = sorted(_names(_model_at(model, location[:-1])))
        close = difflib.get_close_matches(str(location[-1]), names, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(names)}."
        return f"{path}: unknown key; {hint}"
    # A union reports one complaint for each of its members.
    complaint = " or ".join(_complaint(detail) for detail in details)
    if not kinds & {"missing", "value_error"}:
        complaint += f", got {_shown(details[0]['input'])}"
    text = texts.get(".".join(map(str, location))) or _field_text(model, location)
    return f"{path}: {complaint}." + (f" It is: {text.split('. ')[0].rstrip('.')}." if text else "")


def _complaint(detail: ErrorDetails) -> str:
    kind, message = detail["type"], detail["msg"]
    if kind == "missing":
        return "is required"
    if kind in ("model_type", "dict_type"):
        return "expected a mapping"
    if kind in ("tuple_type", "list_type"):
        return "expected a list"
    if kind == "too_short":
        return f"needs {detail['ctx']['min_length']} or more entries"
    message = message.removeprefix("Value error, ")
    return message if kind == "value_error" else message[0].lower() + message[1:]


def _shown(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def _model_at(model: type[BaseModel], location: Location) -> type[BaseModel] | None:
    """Follow a location through nested models, mappings and lists; None if it does not end in a model."""
    at: Any = model
    for part in location:
        at = _unwrapped(at)
        if isinstance(at, type) and issubclass(at, BaseModel):
            at = next((f.annotation for n, f in at.model_fields.items() if (f.alias or n) == part), None)
        elif typing.get_args(at):
            at = typing.get_args(at)[-1 if isinstance(part, str) else 0]
    at = _unwrapped(at)
    return at if isinstance(at, type) and issubclass(at, BaseModel) else None


def _unwrapped(annotation: Any) -> Any:
    """Strip ``Annotated`` and ``| None`` from a type."""
    while True:
        origin = typing.get_origin(annotation)
        if origin is Annotated:
            annotation = typing.get_args(annotation)[0]
        elif origin in (typing.Union, types.UnionType):
            annotation = next(a for a in typing.get_args(annotation) if a is not types.NoneType)
        else:
            return annotation


def _names(model: type[BaseModel] | None) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _field_text(model: type[BaseModel], location: Location) -> str | None:
    holder = _model_at(model, location[:-1])
    if not holder:
        return None
    names = (name for name, field in holder.model_fields.items() if (field.alias or name) == location[-1])
    return next((field_description(holder, name) for name in names), None)


def variables(role: str) -> list[Variable]:
    """Return the variables of a role's ``defaults.yaml`` in the file's order, each with the comment above it."""
    text = defaults_file(role).read_text()
    return list(_documented(yamltext.compose(text), yamltext.parse(text) or {}, text.splitlines(), ()))


def _documented(node: yaml.Node | None, value: Any, lines: list[str], above: tuple[str, ...]) -> Iterator[Variable]:
    if not isinstance(node, yaml.MappingNode):
        return
    for key, below in node.value:
        path = (*above, key.value)
        # The keys of a mapping in block style are documented separately; a mapping in flow style is a value.
        if isinstance(below, yaml.MappingNode) and not below.flow_style:
            yield from _documented(below, value[key.value], lines, path)
        else:
            yield Variable(".".join(path), value[key.value], _comment(lines, key.start_mark.line))


def _comment(lines: list[str], line: int) -> str:
    """Return the comment lines directly above ``line`` as one paragraph."""
    comment: list[str] = []
    while line > 0 and (text := lines[line - 1].strip()).startswith("#"):
        comment.insert(0, text.lstrip("# ").rstrip())
        line -= 1
    return " ".join(comment)
