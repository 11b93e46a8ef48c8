"""A chart rendered by helm, without a cluster."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inferstack.errors import UserError
from inferstack.toolchain import binaries as tools
from inferstack.toolchain.documents import parse_all
from inferstack.versions import load

_SECONDS = 120


def render(packed: Path, name: str, namespace: str, values: Mapping[str, Any]) -> list[Any]:
    """Return the manifests of a release, hooks included.

    Args:
        packed: the chart's file.
        name: of the release.
        namespace: of the release.
        values: over the chart's own.

    Raises:
        UserError: helm is missing, or refuses.
    """
    helm = tools.locate("helm")
    if helm is None:
        raise UserError("helm is not there yet: run `inferstack tools ensure`.")
    # The cluster that is rehearsed stands for the one that will be: charts look at its version.
    version = load()["tools"]["kubernetes"]["version"]
    command = [str(helm), "template", name, str(packed), "--namespace", namespace, "--kube-version", version]
    done = subprocess.run(
        [*command, "--values", "-"],
        input=json.dumps(dict(values)),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        raise UserError(f"helm cannot render {packed.name}: {done.stderr.strip().removeprefix('Error: ')}")
    return [document for document in parse_all(done.stdout) if document]
