"""The connection to an API server; what goes wrong with it is a sentence for a person."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from inferstack.errors import UserError
from inferstack.k8s import ApiError, KubeClient, KubeconfigError


@contextlib.asynccontextmanager
async def connected(kubeconfig: Path | None, context: str | None = None) -> AsyncIterator[KubeClient]:
    """Give a client of one API server.

    Args:
        kubeconfig: its file; kubectl's default where None.
        context: one of its contexts, instead of the current one.

    Raises:
        UserError: there is no such kubeconfig, or the server does not answer or refuses.
    """
    _check(kubeconfig)
    try:
        client = await KubeClient.connect(kubeconfig, context=context)
    except KubeconfigError as error:
        raise UserError(str(error)) from error
    async with client as kube:
        try:
            yield kube
        except aiohttp.ClientConnectionError as error:
            raise UserError(
                f"The API server at {kube.access.server} does not answer ({error}); "
                "`inferstack rehearsal start` starts the rehearsal's."
            ) from error
        except ApiError as error:
            raise UserError(f"The API server refused: {error.message}") from error


def _check(kubeconfig: Path | None) -> None:
    if kubeconfig is not None and not kubeconfig.exists():
        raise UserError(f"There is no kubeconfig {kubeconfig}: start the rehearsal (make up) or name another one.")
