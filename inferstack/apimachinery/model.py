"""Bases of all pydantic models: immutable, and strict about unknown keys."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class StrictModel(BaseModel):
    """An immutable model that refuses unknown keys.

    pydantic builds its validator on first use, so that a command pays only for the models that it validates, and a
    nested model is not built twice.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class CamelModel(StrictModel):
    """A `StrictModel` whose keys are in camelCase, as in the Kubernetes API."""

    model_config = ConfigDict(alias_generator=to_camel)


def field_description(model: type[BaseModel], name: str) -> str | None:
    """Return the description of a field: pydantic's own, else the docstring below it in the source.

    ``use_attribute_docstrings`` would parse the source of each model on import, most of it to no use.
    """
    if (field := model.model_fields.get(name)) and field.description:
        return field.description
    for base in model.__mro__:
        if name in inspect.get_annotations(base):
            (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
            return _docstring_of(definition, name)
    return None


def _docstring_of(definition: ast.stmt, name: str) -> str | None:
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    for statement, following in itertools.pairwise(body):
        match statement, following:
            case ast.AnnAssign(target=ast.Name(id=target)), ast.Expr(value=ast.Constant(value=str(text))):
                if target == name:
                    return inspect.cleandoc(text)
    return None
