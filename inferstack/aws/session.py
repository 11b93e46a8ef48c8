"""AWS sessions and readable errors. Importing boto3 takes 0.25 s, so it is imported on use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from inferstack.errors import UserError

if TYPE_CHECKING:
    import boto3

STACK_TAG = "inferstack:stack"
"""Tag that names the stack of a resource."""


def cluster_name(stack: str) -> str:
    """Return the name of a stack's EKS cluster, which prefixes all other names."""
    return f"inferstack-{stack}"


@contextlib.contextmanager
def connected(region: str) -> Iterator[boto3.Session]:
    """Yield a session for ``region`` with the credentials of the environment.

    Raises:
        UserError: there are no credentials, they are invalid or expired, access is denied, or AWS does not respond.
    """
    import boto3  # noqa: PLC0415
    import botocore.exceptions as errors  # noqa: PLC0415

    try:
        yield boto3.Session(region_name=region)
    except (errors.NoCredentialsError, errors.PartialCredentialsError, errors.CredentialRetrievalError) as error:
        raise UserError(
            f"There are no credentials for AWS ({error}): set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY."
        ) from None
    except (errors.ProfileNotFound, errors.SSOError, errors.TokenRetrievalError) as error:
        raise UserError(f"The credentials for AWS cannot be used: {error}; sign in again or set AWS_PROFILE.") from None
    except (errors.EndpointConnectionError, errors.ConnectTimeoutError, errors.ReadTimeoutError) as error:
        raise UserError(f"AWS does not respond in {region}: {error}") from None
    except errors.ClientError as error:
        raise UserError(f"AWS refuses {error.operation_name}: {error.response['Error']['Message']}.") from None
