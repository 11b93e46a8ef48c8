"""``versions.yaml``, the only list of versions."""

from __future__ import annotations

import functools
from typing import Any

from inferstack.apimachinery import yamltext
from inferstack.project import project_root


@functools.cache
def load() -> dict[str, Any]:
    """Return the parsed ``versions.yaml``; the comments in the file describe its structure."""
    content = yamltext.parse((project_root() / "versions.yaml").read_text())
    assert isinstance(content, dict)  # noqa: S101  # our own file, checked by a test
    return content
