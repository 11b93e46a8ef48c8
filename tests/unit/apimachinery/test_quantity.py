"""The grammar of resource.Quantity, its values and its canonical form."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstack.apimachinery.quantity import format_quantity, parse_count, parse_quantity

DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("96", "96"),
        ("500m", "0.5"),
        ("1Gi", "1073741824"),
        ("1024Mi", "1073741824"),
        ("60Gi", str(60 * 2**30)),
        ("60G", str(60 * 10**9)),
        ("1.5k", "1500"),
        ("1e3", "1000"),
        ("1E", "1000000000000000000"),
        ("1E3", "1000"),
        ("12e-1", "1.2"),
        ("-2", "-2"),
        ("+.5", "0.5"),
        ("2.", "2"),
        ("3n", "0.000000003"),
    ],
)
def test_parse_quantity(text: str, value: str) -> None:
    assert parse_quantity(text) == Fraction(value)


@pytest.mark.parametrize(
    "text",
    ["", "many", "1 Gi", " 1", "1\n", "1KiB", "0x10", "1K", "1ki", ".", "-", "Gi", "1e", "1e3Gi", "1e1.5", "NaN",
     "Infinity", "1_000", "٣", "1..2", "--1", "1mm"],
)  # fmt: skip
def test_other_text_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="expected a quantity"):
        parse_quantity(text)


def test_a_boolean_is_no_quantity() -> None:
    with pytest.raises(ValueError, match="expected a quantity"):
        parse_quantity(True)


DIGITS = st.text("0123456789", min_size=1, max_size=12)
NUMBERS = st.one_of(
    DIGITS,
    st.builds("{}.{}".format, DIGITS, DIGITS),
    st.builds("{}.".format, DIGITS),
    st.builds(".{}".format, DIGITS),
)


def _decimal(number: str) -> Fraction:
    whole, _, fraction = number.partition(".")
    return Fraction(int(whole + fraction or 0), 10 ** len(fraction))


@given(st.sampled_from(["", "+", "-"]), NUMBERS, st.sampled_from([*DECIMAL, *BINARY]))
def test_every_quantity_of_the_grammar_has_its_value(sign: str, number: str, suffix: str) -> None:
    factor = Fraction(2) ** BINARY[suffix] if suffix in BINARY else Fraction(10) ** DECIMAL[suffix]
    value = _decimal(number) * factor
    assert parse_quantity(sign + number + suffix) == (-value if sign == "-" else value)


@given(NUMBERS, st.sampled_from("eE"), st.integers(-30, 30))
def test_every_decimal_exponent_has_its_value(number: str, letter: str, exponent: int) -> None:
    assert parse_quantity(f"{number}{letter}{exponent}") == _decimal(number) * Fraction(10) ** exponent


@given(st.integers(0, 10**18), st.integers(-9, 9))
def test_the_canonical_form_has_the_same_value_and_the_largest_suffix(number: int, exponent: int) -> None:
    value = number * Fraction(10) ** exponent
    text = format_quantity(value)
    assert parse_quantity(text) == value
    digits = text.rstrip("numkMGTPE")
    assert digits.isdecimal()
    assert not digits.endswith("000") or text.endswith("E")


@pytest.mark.parametrize(
    ("value", "text"),
    [("0", "0"), ("2000", "2k"), ("2.5", "2500m"), ("1500", "1500"), ("5000000", "5M"), ("1/3", "333333334n")],
)
def test_format_quantity(value: str, text: str) -> None:
    assert format_quantity(Fraction(value)) == text


@pytest.mark.parametrize(("text", "count"), [("8", 8), (8, 8), ("0", 0), ("2k", 2000), ("3000m", 3)])
def test_parse_count(text: str | int, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["0.5", "500m", "-1", "x", ""])
def test_other_text_is_no_count(text: str) -> None:
    with pytest.raises(ValueError, match="expected a"):
        parse_count(text)
