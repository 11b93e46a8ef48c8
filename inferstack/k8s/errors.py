"""What can go wrong between us and an API server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class KubeconfigError(Exception):
    """A kubeconfig that is missing, unreadable or lacks what is needed; the message names file and key."""


class CredentialError(Exception):
    """The API server no longer accepts our credentials; they are read anew only by a new process."""


class UnknownKindError(Exception):
    """The API server serves no such apiVersion and kind (often: its CRD is not installed yet)."""

    def __init__(self, api_version: str, kind: str) -> None:
        super().__init__(f"the API server serves no {kind} in {api_version}: is its CRD installed?")
        self.api_version = api_version
        self.kind = kind


@dataclass(frozen=True)
class Cause:
    """One field-level cause out of a ``Status``: machine reason, field path, sentence."""

    reason: str
    field: str
    message: str


class ApiError(Exception):
    """A ``Status`` of kind Failure, as the API server answered it."""

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
        """True for 404."""
        return self.code == 404

    @property
    def conflict(self) -> bool:
        """True for 409: a stale resourceVersion, an existing name or a field owned by another manager."""
        return self.code == 409

    @property
    def invalid(self) -> bool:
        """True for 422: the object was understood and refused."""
        return self.code == 422


def is_missing(error: Exception) -> bool:
    """Tell whether what was asked for is not there: the object, or the whole kind."""
    return isinstance(error, UnknownKindError) or (isinstance(error, ApiError) and error.not_found)
