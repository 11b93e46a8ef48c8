"""A mirror folder: packed charts, the list of their images, and the images themselves as OCI layouts.

::

    DIR/<chart>-<version>.tgz     as helm packs it; inferstack:addon.mirror names DIR
    DIR/images.txt                one image a line, sorted
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
from inferstack.toolchain import binaries as tools

Report = Callable[[str], None]

IMAGE_LIST = "images.txt"
_SECONDS = 3600
"""For one image: a server of models has ten GiB and more."""


def write_list(folder: Path, images: list[str]) -> Path:
    """Write the list of images and return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / IMAGE_LIST
    partial = path.with_name(f".{IMAGE_LIST}")
    partial.write_text("".join(f"{image}\n" for image in images))
    return partial.replace(path)


def read_list(folder: Path) -> list[str]:
    """Return the images that a mirror folder is to hold.

    Raises:
        UserError: it has no list.
    """
    path = folder / IMAGE_LIST
    if not path.is_file():
        raise UserError(f"{folder} has no {IMAGE_LIST}: `inferstack mirror pack --to {folder}` writes it.")
    return [line for line in path.read_text().splitlines() if line]


def layout_of(folder: Path, image: str) -> Path:
    """Return where an image lies in a mirror folder."""
    return folder / "images" / re.sub(r"[/:@]", "_", image)


def pull_image(image: str, folder: Path, report: Report) -> Path:
    """Bring an image for all its platforms into the folder; one that is there stays, a half one never is.

    Raises:
        UserError: the registry does not give it.
    """
    place = layout_of(folder, image)
    if place.is_dir():
        report(f"{image}: is there")
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pull-", dir=place.parent) as work:
        half = Path(work) / "layout"
        _crane("pull", "--format", "oci", image, str(half))
        shutil.move(half, place)
    report(f"{image}: pulled")
    return place


def push_image(image: str, folder: Path, registry: str, report: Report) -> str:
    """Push an image of the folder to a registry under its own path and return its new reference.

    Args:
        image: as the list has it.
        folder: the mirror.
        registry: host, with a port and a path where it has them.
        report: takes a sentence for a person.

    Raises:
        UserError: it is not in the folder, or the registry refuses it.
    """
    place = layout_of(folder, image)
    if not place.is_dir():
        raise UserError(f"{folder} does not hold {image}: `inferstack mirror pack --images` brings it.")
    target = retarget(image, registry)
    _crane("push", str(place), target)
    report(f"{image}: pushed as {target}")
    return target


def retarget(image: str, registry: str) -> str:
    """Return an image's name in another registry: the path without the old host, the tag; a digest alone becomes a tag.

    containerd's mirrors ask for the same path at another host, so the path must stay.
    """
    name, _, digest = image.partition("@")
    first, slash, rest = name.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    path = rest if is_host else (name if slash else f"library/{name}")
    tagged = ":" in path.rsplit("/", 1)[-1]
    return f"{registry.rstrip('/')}/{path}" + ("" if tagged or not digest else f":{digest.replace(':', '-')}")


def _crane(*arguments: str) -> None:
    crane = tools.locate("crane")
    if crane is None:
        raise UserError("crane is not there yet: run `inferstack tools ensure crane`.")
    try:
        done = subprocess.run([str(crane), *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(f"crane {' '.join(arguments)}: no end after {_SECONDS} s.") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise UserError(f"crane {' '.join(arguments)}: {said[-1] if said else 'failed without a word'}")
