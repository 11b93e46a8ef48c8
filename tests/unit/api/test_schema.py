"""The way from a model to a structural schema, form by form; what cannot be said is refused, not dropped."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, StringConstraints

from inferstack.api.base import ApiModel
from inferstack.api.rules import Rule
from inferstack.api.schema import SchemaError, structural

Word = Annotated[str, StringConstraints(max_length=8)]


class Colour(enum.StrEnum):
    """Two colours."""

    RED = "red"
    BLUE = "blue"


class Inner(ApiModel):
    """Something inside."""

    some_number: Annotated[int, Field(ge=1, le=5)] = 3
    """A number
    over two lines."""


class Outer(ApiModel):
    """All forms."""

    kind: Literal["Outer"]
    colour: Colour | None = None
    """One of two."""
    inner: Inner
    """What the field says goes before what the model says."""
    plain: Inner | None = None
    words: Annotated[tuple[Word, ...], Field(max_length=3)] = ()
    inners: tuple[Inner, ...] = ()
    amounts: dict[str, Annotated[int, Field(ge=0)] | Word]
    switch: bool = False


def test_all_forms() -> None:
    rule = Rule("self.someNumber > 1", "someNumber: is one", field=".someNumber")
    inner: dict[str, Any] = {
        "type": "object",
        "properties": {
            "someNumber": {
                "type": "integer",
                "description": "A number over two lines.",
                "minimum": 1,
                "maximum": 5,
                "default": 3,
            }
        },
        "x-kubernetes-validations": [
            {
                "rule": "self.someNumber > 1",
                "message": "someNumber: is one",
                "reason": "FieldValueInvalid",
                "fieldPath": ".someNumber",
            }
        ],
    }
    schema = structural(Outer, {Inner: [rule]}, {".inners": ("someNumber",)})
    assert schema == {
        "description": "All forms.",
        "type": "object",
        "required": ["kind", "inner", "amounts"],
        "properties": {
            "kind": {"type": "string", "enum": ["Outer"]},
            "colour": {"type": "string", "description": "One of two.", "enum": ["red", "blue"]},
            "inner": {**inner, "description": "What the field says goes before what the model says."},
            "plain": {**inner, "description": "Something inside."},
            "words": {
                "type": "array",
                "maxItems": 3,
                "items": {"type": "string", "maxLength": 8},
                "x-kubernetes-list-type": "atomic",
            },
            "inners": {
                "type": "array",
                "items": {**inner, "description": "Something inside."},
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["someNumber"],
            },
            "amounts": {
                "type": "object",
                "additionalProperties": {
                    "x-kubernetes-int-or-string": True,
                    "anyOf": [{"type": "integer"}, {"type": "string"}],
                    "minimum": 0,
                    "maxLength": 8,
                },
            },
            "switch": {"type": "boolean", "default": False},
        },
    }


class Unbounded(ApiModel):
    """A string without a bound."""

    text: str


class Fraction(ApiModel):
    """A number that is not whole."""

    share: float


class Mixed(ApiModel):
    """A union that no CRD can have."""

    either: int | bool


class Models(ApiModel):
    """A union of models."""

    either: Inner | Unbounded


class Exclusive(ApiModel):
    """A keyword that is not carried over."""

    number: Annotated[int, Field(gt=0)]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Unbounded, r"\.text: a string needs maxLength"),
        (Fraction, r"\.share: cannot express type 'number'"),
        (Mixed, r"\.either: cannot express a union of integer, boolean"),
        (Models, r"\.either: cannot express a union of"),
        (Exclusive, r"\.number: cannot express exclusiveMinimum"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_what_cannot_be_said_is_refused(model: type[ApiModel], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        structural(model, {}, {})


def test_a_rule_without_a_field() -> None:
    assert Rule("true", "m").manifest() == {"rule": "true", "message": "m", "reason": "FieldValueInvalid"}
