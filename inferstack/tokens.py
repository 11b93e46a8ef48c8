"""Pulumi's type tokens of Kubernetes kinds."""

from __future__ import annotations


def token(api_version: str, kind: str) -> str:
    """Return the Pulumi type token of a kind: ``v1``/``Pod`` is ``kubernetes:core/v1:Pod``."""
    return f"kubernetes:{api_version if '/' in api_version else f'core/{api_version}'}:{kind}"
