"""Downloads of official releases, from hosts that respond in time and only with the pinned checksum."""

from __future__ import annotations

import hashlib
import http.client
import queue
import shutil
import tarfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path

from inferstack.errors import UserError
from inferstack.toolchain.binaries import store
from inferstack.toolchain.binaries.catalogue import Group, Release

ANSWER_TIMEOUT_S = 5.0
"""Timeout for a host to respond, name resolution and proxies included. The fallback, a build, takes minutes."""

_STALL_TIMEOUT_S = 30.0
_CHUNK = 1 << 20

_silent_hosts: set[str] = set()
"""Hosts that did not respond to this process and are not tried again."""


class UnavailableError(Exception):
    """A release file cannot be downloaded; the next source is tried."""


def reachable(releases: Iterable[Release], timeout_s: float = ANSWER_TIMEOUT_S) -> list[Release]:
    """Return the releases that their hosts serve. All hosts are probed at once, so the total wait is one timeout."""
    asked = [release for release in releases if _host(release) not in _silent_hosts]
    answers: queue.Queue[tuple[Release, bool]] = queue.Queue()

    def probe(release: Release) -> None:
        request = urllib.request.Request(release.url, method="HEAD")  # noqa: S310  # https, from versions.yaml
        try:
            with urllib.request.urlopen(request, timeout=timeout_s):  # noqa: S310  # as above
                answers.put((release, True))
        except (OSError, http.client.HTTPException):
            answers.put((release, False))

    for release in asked:
        # Daemon threads, not a pool: a hanging name lookup must not keep this process alive.
        threading.Thread(target=probe, args=(release,), daemon=True).start()
    deadline = time.monotonic() + timeout_s
    served: list[Release] = []
    for _ in asked:
        try:
            release, good = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if good:
            served.append(release)
    _silent_hosts.update({_host(release) for release in asked} - {_host(release) for release in served})
    return [release for release in asked if release in served]


def fetch(group: Group, release: Release, folder: Path, report: Callable[[str], None]) -> Path:
    """Download a release file, verify its checksum and extract its executables.

    Returns:
        The folder that contains the executables and nothing else.

    Raises:
        UnavailableError: the host does not serve the file.
        UserError: the checksum differs, or the disk is full.
    """
    name = release.url.rpartition("/")[2]
    file = folder / name
    report(f"{group.name} {group.version}: downloading {release.url}")
    began = time.monotonic()
    with store.writable(folder):
        _download(release, file, lambda text: report(f"{group.name}: {text}"))
        unpacked = folder / "unpacked"
        unpacked.mkdir()
        if release.members:
            _unpack(release, file, unpacked)
        else:
            file.replace(unpacked / release.provides[0])
    report(f"{group.name} {group.version}: downloaded in {time.monotonic() - began:.0f} s, checksum verified")
    return unpacked


def _download(release: Release, file: Path, report: Callable[[str], None]) -> None:
    digest = hashlib.new(release.algorithm)
    received = 0
    beat = time.monotonic()
    with _open(release) as response, file.open("wb") as target:
        while chunk := _read(response, release):
            target.write(chunk)
            digest.update(chunk)
            received += len(chunk)
            if time.monotonic() - beat >= store.HEARTBEAT_S:
                beat = time.monotonic()
                report(f"{received >> 20} MiB so far")
        announced = response.headers.get("Content-Length")
    if announced is not None and received < int(announced):
        raise UnavailableError(f"{release.url}: the connection ended after {received} of {announced} bytes")
    if digest.hexdigest() != release.digest:
        file.unlink()
        raise UserError(
            f"{release.url} has the {release.algorithm} {digest.hexdigest()}, versions.yaml expects {release.digest}: "
            "the file was deleted. Find out why it changed, or set INFERSTACK_TOOLS_FROM=path,build to build the tool."
        )


def _open(release: Release) -> http.client.HTTPResponse:
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(release.url, timeout=_STALL_TIMEOUT_S)  # noqa: S310  # https, from versions.yaml
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(f"{release.url}: {error}") from error
    return response


def _read(response: http.client.HTTPResponse, release: Release) -> bytes:
    try:
        return response.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(f"{release.url}: {error}") from error


def _unpack(release: Release, archive: Path, target: Path) -> None:
    """Extract the members of a release from an archive, named after the executables."""
    names = {member: name for name, member in release.members.items()}
    with tarfile.open(archive) as tar:
        for entry in tar:
            name = names.pop(entry.name.removeprefix("./"), None)
            source = tar.extractfile(entry) if name is not None else None
            if name is None or source is None:
                continue
            with source, (target / name).open("wb") as out:
                shutil.copyfileobj(source, out)
            if not names:
                return
    raise UserError(f"{release.url} has no {', '.join(names)}: correct its members in versions.yaml.")


def _host(release: Release) -> str:
    return urllib.parse.urlsplit(release.url).netloc
