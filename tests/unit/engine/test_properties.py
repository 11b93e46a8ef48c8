"""Property values: wire form and back, secrets, redaction."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstack.engine.properties import (
    UNKNOWN,
    Secret,
    decode,
    encode,
    has_secret,
    has_unknown,
    redact,
    reveal,
    without_nulls,
)

_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3) | inner.map(Secret)
    ),
    max_leaves=12,
)


def _integral(value: Any) -> Any:
    """Numbers are doubles on the wire: 2.0 comes back as 2."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _integral(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_integral(item) for item in value]
    return Secret(_integral(value.value)) if isinstance(value, Secret) else value


@given(st.dictionaries(st.text(max_size=8), _VALUES, max_size=4))
def test_values_round_trip(properties: dict[str, Any]) -> None:
    assert decode(encode(properties)) == _integral(properties)


def test_unknown_values_round_trip_inside_secrets() -> None:
    assert decode(encode({"a": UNKNOWN, "b": [UNKNOWN], "c": Secret(UNKNOWN)})) == {
        "a": UNKNOWN,
        "b": [UNKNOWN],
        "c": UNKNOWN,
    }
    assert has_unknown({"a": [{"b": Secret(UNKNOWN)}]})
    assert not has_unknown({"a": [1]})
    assert copy.deepcopy({"a": UNKNOWN})["a"] is UNKNOWN


def test_dashed_schema_keys_are_translated_both_ways() -> None:
    spelled = {"schema": {"x-kubernetes-validations": [{"rule": "x_kubernetes_stays"}]}}
    wire = encode(spelled)
    assert "x_kubernetes_validations" in wire.fields["schema"].struct_value.fields
    assert decode(wire) == spelled


def test_reveal_removes_secret_marks() -> None:
    marked = {"a": Secret({"b": [Secret("deep")]}), "c": 1}
    assert reveal(marked) == {"a": {"b": ["deep"]}, "c": 1}
    assert has_secret(marked)
    assert not has_secret({"c": [1, {}]})
    assert "deep" not in repr(marked)


def test_null_values_are_removed() -> None:
    assert without_nulls({"a": None, "b": [{"c": None, "d": {}}]}) == {"b": [{"d": {}}]}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ('invalid value: "hunter2"', 'invalid value: "[secret]"'),
        ("invalid value: aHVudGVyMg==", "invalid value: [secret]"),
        ("hunter2-longer then hunter2", "[secret] then [secret]"),
        ("nothing here, abc", "nothing here, abc"),
    ],
)
def test_secrets_are_redacted_from_messages(text: str, clean: str) -> None:
    marked = {"a": [Secret("hunter2")], "b": Secret({"c": "hunter2-longer"}), "d": Secret("abc"), "e": "invalid"}
    assert redact(text, marked) == clean
