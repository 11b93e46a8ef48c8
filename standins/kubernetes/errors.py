"""Errors of resource operations and their messages."""

from __future__ import annotations

from typing import Any

import aiohttp

from inferstack.k8s import ApiError, UnknownKindError

CONFLICT_HELP = (
    "https://www.pulumi.com/registry/packages/kubernetes/how-to-guides/"
    "managing-resources-with-server-side-apply/#handle-field-conflicts-on-existing-resources"
)
_EXISTS_HELP = """
The resource already exists in the cluster. This can happen when:

  - Renaming a Pulumi resource: use an alias to preserve the identity,
    or use deleteBeforeReplace if the resource needs replacement.
  - Managing an existing resource: use a Patch resource (e.g. NamespacePatch)
    to manage specific fields without owning the resource lifecycle.
  - Adopting a resource into Pulumi: use `pulumi import`.
  - Intentional upsert: set upsertExistingObjects on the provider to allow
    server-side apply to update existing objects on create."""


class OperationError(Exception):
    """The operation failed and changed nothing. The message is shown to the user."""


class PartialError(Exception):
    """The object exists but is not ready; its state is stored with the reasons.

    The engine stores such a resource with its ``initErrors`` and updates it at the next ``up``.
    """

    def __init__(self, message: str, *, live: dict[str, Any], reasons: list[str]) -> None:
        super().__init__(message)
        self.live = live
        self.reasons = reasons


CONNECTION_ERRORS = (aiohttp.ClientError, TimeoutError)
"""Errors that the client raises if it receives no response."""


def is_outcome_unknown(error: Exception) -> bool:
    """Return whether a failed request may have taken effect.

    This is the case without a response and for status codes 5xx: an API server that loses its connection to etcd
    during a write responds with 500 or 504 and does not know the outcome.
    """
    return isinstance(error, CONNECTION_ERRORS) or (isinstance(error, ApiError) and error.code >= 500)


def explain(error: ApiError | UnknownKindError | aiohttp.ClientError | TimeoutError, manager: str = "") -> str:
    """Describe an API error without the contents of the object."""
    if isinstance(error, UnknownKindError):
        return f"{error} Verify that any required CRDs have been created."
    if not isinstance(error, ApiError):
        return f"the Kubernetes API server did not answer: {error or type(error).__name__}"
    if error.conflict and error.reason == "AlreadyExists":
        return f"{error.message}\n{_EXISTS_HELP}"
    if error.conflict and any(cause.reason == "FieldManagerConflict" for cause in error.causes):
        fields = "\n".join(f"  - {cause.field}: {cause.message}" for cause in error.causes)
        return (
            f'the field manager "{manager}" had an apply conflict:\n{fields}\n'
            "Another manager owns these fields: leave them out (or list them in ignoreChanges), or take them over with "
            f'the annotation pulumi.com/patchForce: "true". See {CONFLICT_HELP}'
        )
    return error.message
