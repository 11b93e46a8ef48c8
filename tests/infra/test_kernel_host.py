"""A real node's kernel: each setting that the kernel role applies has the value that it says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from testinfra.host import Host  # type: ignore[import-untyped]  # it ships no types

from components.kernel.builders import NAME, NAMESPACE
from tests.infra.cluster import data_of


@pytest.fixture(scope="module")
def wanted(node: dict[str, Any]) -> dict[str, list[str]]:
    """The kernel parameters that the role applies to this cluster's nodes: by file, the words of the value."""
    config = json.loads(data_of(f"{NAME}-config", NAMESPACE, "config.json"))
    if config["mode"] != "apply":
        pytest.skip(f"the kernel role is in mode {config['mode']}: nodes keep their own values")
    return {
        f"/{setting['path']}": str(setting["value"]).split()
        for setting in config["settings"]
        if setting["kind"] == "sysctl"
    }


def test_kernel_parameters_have_their_values(real: Host, wanted: dict[str, list[str]]) -> None:
    files = {path: real.file(path) for path in wanted}
    # One that this kernel lacks has no words at all.
    there = {path: file.content_string.split() if file.exists else [] for path, file in files.items()}
    assert there == wanted
