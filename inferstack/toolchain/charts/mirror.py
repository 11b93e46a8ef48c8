"""Mirror folders for air-gapped sites: packed charts, the list of their images, and the images as OCI layouts.

::

    DIR/<chart>-<version>.tgz     as packed by helm; inferstack:addon.mirror is set to DIR
    DIR/images.txt                one image per line, sorted
    DIR/images/<image>/           OCI image layout, ``/``, ``:`` and ``@`` of the name written as ``_``
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from inferstack.errors import UserError
from inferstack.toolchain import binaries

Report = Callable[[str], None]

IMAGE_LIST = "images.txt"
_SECONDS = 3600
"""Timeout per image: model servers have 10 GiB and more."""


def write_list(folder: Path, images: list[str]) -> Path:
    """Write the list of images and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / IMAGE_LIST
    partial = path.with_name(f".{IMAGE_LIST}")
    partial.write_text("".join(f"{image}\n" for image in images))
    return partial.replace(path)


def read_list(folder: Path) -> list[str]:
    """Return the images that a mirror folder should contain.

    Raises:
        UserError: the folder has no list.
    """
    path = folder / IMAGE_LIST
    if not path.is_file():
        raise UserError(f"{folder} has no {IMAGE_LIST}: `inferstack mirror pack --to {folder}` writes it.")
    return [line for line in path.read_text().splitlines() if line]


def layout_of(folder: Path, image: str) -> Path:
    """Return the path of an image in a mirror folder."""
    return folder / "images" / re.sub(r"[/:@]", "_", image)


def pull_image(image: str, folder: Path, report: Report) -> Path:
    """Pull an image with all its platforms into the folder, atomically, unless it exists there.

    Raises:
        UserError: the registry does not serve the image.
    """
    layout = layout_of(folder, image)
    if layout.is_dir():
        report(f"{image}: present")
        return layout
    layout.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pull-", dir=layout.parent) as work:
        partial = Path(work) / "layout"
        _crane("pull", "--format", "oci", image, str(partial))
        shutil.move(partial, layout)
    report(f"{image}: pulled")
    return layout


def push_image(image: str, folder: Path, registry: str, report: Report) -> str:
    """Push an image of the folder to a registry under the same path and return its new reference.

    Args:
        image: an image of the list.
        folder: the mirror folder.
        registry: host, optionally with a port and a path.
        report: receives progress lines.

    Raises:
        UserError: the image is not in the folder, or the push fails.
    """
    layout = layout_of(folder, image)
    if not layout.is_dir():
        raise UserError(f"{folder} does not contain {image}: run `inferstack mirror pack --images`.")
    target = retarget(image, registry)
    _crane("push", str(layout), target)
    report(f"{image}: pushed as {target}")
    return target


def retarget(image: str, registry: str) -> str:
    """Return the reference of an image in another registry, with the same path and tag. A bare digest becomes a tag.

    containerd mirrors request the same path from another host, so the path must not change.
    """
    name, _, digest = image.partition("@")
    first, slash, rest = name.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    path = rest if is_host else (name if slash else f"library/{name}")
    tagged = ":" in path.rsplit("/", 1)[-1]
    return f"{registry.rstrip('/')}/{path}" + ("" if tagged or not digest else f":{digest.replace(':', '-')}")


def _crane(*arguments: str) -> None:
    crane = binaries.locate("crane")
    if crane is None:
        raise UserError("crane is missing: run `inferstack tools ensure crane`.")
    try:
        completed = subprocess.run(
            [str(crane), *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"crane {' '.join(arguments)}: timeout after {_SECONDS} s.") from None
    if completed.returncode:
        errors = completed.stderr.strip().splitlines()
        raise UserError(f"crane {' '.join(arguments)}: {errors[-1] if errors else 'failed without output'}")
