"""Kubernetes quantities as numbers, to tell whether two spellings (``1024Mi``, ``1Gi``) are equal."""

from __future__ import annotations

import re
from decimal import Decimal

_FORM = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)")
_SUFFIX = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", start=1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}  # fmt: skip


def parse(text: str | int) -> Decimal:
    """Return the value of a quantity.

    Raises:
        ValueError: the text is not a quantity.
    """
    match = _FORM.fullmatch(str(text))
    if not match:
        raise ValueError(f"{text!r} is not a Kubernetes quantity such as 500m, 96 or 1152Gi")
    number, exponent, suffix = match.groups()
    return Decimal(number + (exponent or "")) * _SUFFIX[suffix or ""]
