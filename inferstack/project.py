"""Locations of the project's files.

There are four locations, and none contains the user's own configuration:

* the project root: the folder with ``Pulumi.yaml``;
* the state folder: ``.inferstack`` in the root, or ``$INFERSTACK_STATE``. It holds all files of
  one rehearsal (certificates, etcd data, logs, kubeconfig, Pulumi state);
* the stacks' folder: ``stacks`` in the root, or ``$INFERSTACK_STACKS`` if the inventory is elsewhere;
* the cache folder: ``inferstack`` in the user's cache directory, or ``$INFERSTACK_CACHE``. It
  holds built tools, and CRDs and charts of other projects. All clones share it, and deleting it costs only time.
"""

from __future__ import annotations

import os
from pathlib import Path


def project_root() -> Path:
    """Return the folder that holds ``Pulumi.yaml``, located relative to this package."""
    return Path(__file__).resolve().parent.parent


def state_dir() -> Path:
    """Return the state folder of this project; it may not exist yet."""
    override = os.environ.get("INFERSTACK_STATE")
    return Path(override).resolve() if override else project_root() / ".inferstack"


def stacks_dir(root: Path) -> Path:
    """Return the folder of the stack files: ``stacks`` in the project root, or ``$INFERSTACK_STACKS``."""
    override = os.environ.get("INFERSTACK_STACKS")
    return Path(override).resolve() if override else root / "stacks"


def cache_dir() -> Path:
    """Return the folder for built tools, CRDs and charts; it may not exist yet."""
    override = os.environ.get("INFERSTACK_CACHE")
    if override:
        return Path(override).resolve()
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "inferstack"
