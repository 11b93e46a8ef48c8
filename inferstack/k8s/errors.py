"""Errors of requests to an API server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class KubeconfigError(Exception):
    """The kubeconfig is missing, unreadable or incomplete; the message names the file or key."""


class CredentialError(Exception):
    """The API server no longer accepts the credentials; only a new process reads them again."""


class UnknownKindError(Exception):
    """The API server does not serve the kind; often its CRD is not installed yet."""

    def __init__(self, api_version: str, kind: str) -> None:
        super().__init__(f"the API server serves no {kind} in {api_version}: is its CRD installed?")
        self.api_version = api_version
        self.kind = kind


@dataclass(frozen=True)
class Cause:
    """A field-level cause of a ``Status``: reason, field path and message."""

    reason: str
    field: str
    message: str


class ApiError(Exception):
    """A ``Status`` with ``status: Failure`` from the API server."""

    def __init__(self, code: int, body: dict[str, Any], *, request: str) -> None:
        self.code = code
        self.body = body
        self.request = request
        self.reason: str = body.get("reason") or ""
        self.message: str = body.get("message") or f"HTTP {code}"
        details = body.get("details") or {}
        self.causes = [
            Cause(c.get("reason", ""), c.get("field", ""), c.get("message", "")) for c in details.get("causes") or []
        ]
        self.retry_after: float | None = details.get("retryAfterSeconds")
        super().__init__(f"{request}: {self.message} ({code} {self.reason})")

    @property
    def not_found(self) -> bool:
        """Whether the code is 404."""
        return self.code == 404

    @property
    def conflict(self) -> bool:
        """Whether the code is 409: a stale resourceVersion, an existing name or a field owned by another manager."""
        return self.code == 409

    @property
    def invalid(self) -> bool:
        """Whether the code is 422: the object failed validation."""
        return self.code == 422


def is_missing(error: Exception) -> bool:
    """Return whether an error means that the object or its kind does not exist."""
    return isinstance(error, UnknownKindError) or (isinstance(error, ApiError) and error.not_found)
