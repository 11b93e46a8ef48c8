"""Connections of the commands to an API server; failures become errors that a user can act on."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from inferstack.errors import UserError
from inferstack.k8s import ApiError, KubeClient, KubeconfigError

FIELD_MANAGER = "inferstack-cli"
_Result = TypeVar("_Result")


@contextlib.asynccontextmanager
async def connected(kubeconfig: Path | None, context: str | None = None) -> AsyncIterator[KubeClient]:
    """Yield a client of an API server.

    Args:
        kubeconfig: its file; None for kubectl's default.
        context: a context of the kubeconfig; None for the current one.

    Raises:
        UserError: the kubeconfig does not exist, or the server does not answer or refuses a request.
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
                "`inferstack rehearsal start` starts that of the rehearsal."
            ) from error
        except ApiError as error:
            raise UserError(f"The API server refused the request: {error.message}") from error


def _check(kubeconfig: Path | None) -> None:
    if kubeconfig is not None and not kubeconfig.exists():
        raise UserError(f"There is no kubeconfig {kubeconfig}: start the rehearsal (make up) or choose another file.")


def run(
    work: Callable[[KubeClient], Coroutine[Any, Any, _Result]], kubeconfig: Path | None, context: str | None = None
) -> _Result:
    """Run a coroutine with a client of an API server, and return its result.

    Raises:
        UserError: as `connected` does.
    """

    async def connect() -> _Result:
        async with connected(kubeconfig, context) as kube:
            return await work(kube)

    return asyncio.run(connect())


async def get_node(kube: KubeClient, name: str) -> dict[str, Any]:
    """Return a node.

    Raises:
        UserError: there is none of that name; the message suggests similar names.
    """
    node = await kube.find("v1", "Node", name)
    if node is None:
        names = [node["metadata"]["name"] for node in (await kube.list("v1", "Node"))["items"]]
        raise UserError(f"There is no node {name!r}{suggest(name, names)}.")
    return node


def suggest(name: str, names: Iterable[str]) -> str:
    """Return a clause with similar names, or with the first few; empty if there are none."""
    listed = sorted(names)
    similar = difflib.get_close_matches(name, listed, n=4) or listed[:8]
    return f": similar names are {', '.join(similar)}" if similar else ""
