"""The cases of malformed.yaml, and which fields a refusal names: the model's and the API server's."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError

_UNKNOWN_FIELD = re.compile(r'unknown field "([^"]+)"')
_HEAD = re.compile(r"(?:Value error, )?([a-z][\w.]*): ")


@dataclass(frozen=True)
class Case:
    """One malformed job."""

    name: str
    patch: Object
    field: str

    @property
    def job(self) -> Object:
        """The job as it would be created."""
        job: Object = merged(base(), self.patch)
        return job

    def is_named(self, fields: set[str]) -> bool:
        """Return whether the field at fault, or one below it, is among those."""
        return any(name == self.field or name.startswith((self.field + ".", self.field + "[")) for name in fields)


@functools.cache
def _content() -> Object:
    content: Object = yaml.safe_load(Path(__file__).with_name("malformed.yaml").read_text())
    return content


def base() -> Object:
    """Return the good job that all cases start from, without a namespace."""
    job: Object = merged({}, _content()["base"])
    return job


def cases() -> list[Case]:
    """Return all cases."""
    return [Case(**entry) for entry in _content()["cases"]]


def merged(value: Any, patch: Any) -> Any:
    """Return a value with a merge patch applied; shares no mapping with either."""
    if not isinstance(patch, dict):
        return patch
    result = {key: merged({}, entry) for key, entry in value.items()} if isinstance(value, dict) else {}
    for key, entry in patch.items():
        if entry is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), entry)
    return result


def named_by_model(error: ValidationError) -> set[str]:
    """Return the paths of the fields that the model complains of."""
    named = set()
    for detail in error.errors():
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"]).removeprefix(".")
        # A check over several fields stands at their parent and begins with the one at fault.
        head = _HEAD.match(detail["msg"]) if detail["type"] == "value_error" else None
        named.add(f"{path}.{head[1]}" if head else path)
    return named


def named_by_server(error: ApiError) -> set[str]:
    """Return the paths of the fields that the API server complains of."""
    named = set(_UNKNOWN_FIELD.findall(error.message))
    for cause in error.causes:
        # A rule on the whole object, the one over metadata.name, can give its field in its message only.
        whole = re.match(r'Invalid value: "object": ([\w.]+): ', cause.message)
        named.add(whole[1] if cause.field == "<nil>" and whole else cause.field)
    return named
