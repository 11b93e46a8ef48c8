"""What an operation can end with besides success."""

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
    """The operation failed and changed nothing; the message is for the user."""


class PartialError(Exception):
    """The object is in the cluster, but not as it should be: its state is kept with the reasons.

    The engine stores such a resource with its ``initErrors`` and updates it at the next ``up``.
    """

    def __init__(self, message: str, *, live: dict[str, Any], reasons: list[str]) -> None:
        super().__init__(message)
        self.live = live
        self.reasons = reasons


REACHING = (aiohttp.ClientError, TimeoutError)
"""What the client raises when no answer came."""


def is_uncertain(error: Exception) -> bool:
    """Return whether a request may have been carried out all the same.

    True without an answer, and with an answer 5xx: an API server that loses etcd while it writes says 500 or 504 and
    does not know itself.
    """
    return isinstance(error, REACHING) or (isinstance(error, ApiError) and error.code >= 500)


def explain(error: ApiError | UnknownKindError | aiohttp.ClientError | TimeoutError, manager: str = "") -> str:
    """Say what the API server refused, without the contents of the object."""
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
