"""The operator's start."""

from __future__ import annotations

import socket
from typing import cast

import pytest

from inferstack.controllers.app import serve
from inferstack.errors import UserError
from inferstack.k8s import KubeClient


async def test_a_health_port_that_is_taken_is_named() -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"health port {port}: .*; set another INFERSTACK_HEALTH_PORT"):
            # It ends before it needs a client.
            await serve(cast(KubeClient, None), namespace=None, health_port=port, usage_seconds=None)
