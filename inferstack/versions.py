"""The one list of versions, ``versions.yaml``."""

from __future__ import annotations

import functools
from typing import Any

from inferstack.apimachinery import yamltext
from inferstack.project import project_root


@functools.cache
def load() -> dict[str, Any]:
    """Return the parsed ``versions.yaml``; see the comments there for its shape."""
    content = yamltext.parse((project_root() / "versions.yaml").read_text())
    assert isinstance(content, dict)  # noqa: S101  # our own file, checked by a test
    return content
