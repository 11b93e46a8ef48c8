"""Base of the models: immutable, strict about unknown keys, camelCase as all of Kubernetes."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

from inferstack.apimachinery.model import CamelModel


class ApiModel(CamelModel):
    """One object of the API. Docstrings become the schema's descriptions, so ``kubectl explain`` shows them."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    def manifest(self) -> dict[str, Any]:
        """Return the JSON form with the API's key names, what is not set left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
