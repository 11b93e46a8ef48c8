"""A validation rule in CEL, as it stands in a CRD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    """One entry of ``x-kubernetes-validations``."""

    rule: str
    """CEL expression over ``self``; true where the value is good."""
    message: str
    """Sentence for the user; begins with the field."""
    field: str | None = None
    """Path of the field at fault, relative to the schema that carries the rule (``.limits``)."""

    def manifest(self) -> dict[str, Any]:
        """Return the CRD's form."""
        entry = {"rule": self.rule, "message": self.message, "reason": "FieldValueInvalid"}
        if self.field:
            entry["fieldPath"] = self.field
        return entry
