"""Kubernetes quantities as numbers: ``500m``, ``96``, ``1152Gi``, ``1e3``.

The grammar is that of resource.Quantity (kubernetes/apimachinery ``pkg/api/resource/quantity.go``)::

    <quantity>        ::= <signedNumber><suffix>
    <signedNumber>    ::= <number> | +<number> | -<number>
    <number>          ::= <digits> | <digits>.<digits> | <digits>. | .<digits>
    <suffix>          ::= <binarySI> | <decimalExponent> | <decimalSI>
    <binarySI>        ::= Ki | Mi | Gi | Ti | Pi | Ei
    <decimalSI>       ::= n | u | m | "" | k | M | G | T | P | E
    <decimalExponent> ::= "e" <signedNumber> | "E" <signedNumber>

An exponent is an integer. Values are exact; resource.Quantity rounds up to multiples of 1n and caps at 2^63 - 1.
``kubernetes.utils.quantity`` is not used: it also accepts ``1K``, ``NaN`` and spaces, and the asynchronous client that
this project depends on does not include it.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

_FORM: Final = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:[eE](?P<exponent>[+-]?[0-9]{1,3})|(?P<suffix>[KMGTPE]i|[numkMGTPE])?)"
)
_DECIMAL: Final = {suffix: Fraction(1000) ** power for power, suffix in enumerate(("n", "u", "m", "", *"kMGTPE"), -3)}
_FACTORS: Final = {**_DECIMAL, **{f"{letter}i": Fraction(1024) ** power for power, letter in enumerate("KMGTPE", 1)}}


def parse_quantity(value: str | int) -> Fraction:
    """Return the value of a quantity: cores, bytes or a count.

    Raises:
        ValueError: the value is not a quantity.
    """
    match = None if isinstance(value, bool) else _FORM.fullmatch(str(value))
    if not match:
        raise ValueError(f"expected a quantity such as 500m, 2 or 64Gi, got {value!r}")
    number = Fraction(match["number"].rstrip(".")) * _FACTORS[match["suffix"] or ""]
    return number * Fraction(10) ** int(match["exponent"] or 0)


def parse_count(value: str | int) -> int:
    """Return the value of a quantity of an extended resource, which has whole units only.

    Raises:
        ValueError: the value is not a quantity, not whole, or negative.
    """
    count = parse_quantity(value)
    if count.denominator != 1 or count < 0:
        raise ValueError(f"expected a whole number, got {value!r}")
    return int(count)


def format_quantity(value: Fraction) -> str:
    """Return a number in canonical decimal form, as the API server returns it: 2000 as ``2k``, 2.5 as ``2500m``.

    The canonical form has no fraction and the largest suffix that allows this. What is smaller than 1n is rounded up.
    """
    for suffix, factor in reversed(_DECIMAL.items()):
        if value % factor == 0 and (value or not suffix):
            return f"{value // factor}{suffix}"
    return f"{-(-value // _DECIMAL['n'])}n"
