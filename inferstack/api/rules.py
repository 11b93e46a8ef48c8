"""A CEL validation rule of a CRD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    """One entry of ``x-kubernetes-validations``."""

    rule: str
    """CEL expression over ``self`` that is true for valid values."""
    message: str
    """Message for the user, which begins with the field."""
    field: str | None = None
    """Path of the invalid field, relative to the schema of the rule (``.limits``)."""

    def manifest(self) -> dict[str, Any]:
        """Return the rule as an entry of the CRD."""
        entry = {"rule": self.rule, "message": self.message, "reason": "FieldValueInvalid"}
        if self.field:
            entry["fieldPath"] = self.field
        return entry
