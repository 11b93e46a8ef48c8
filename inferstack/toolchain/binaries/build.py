"""Build the binaries of a group from pinned Go modules."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from inferstack.errors import UserError
from inferstack.toolchain.binaries import store
from inferstack.toolchain.binaries.catalogue import Group, accepts, parse_version

_GO_TIMEOUT_S = 30
_TAIL_LINES = 12
_SPARE_GIB = 1.0
"""Disk space for what Go downloads and links outside its build cache, in GiB."""

_NETWORK = re.compile(
    r"dial tcp|no such host|i/o timeout|connection refused|network is unreachable|proxyconnect|TLS handshake timeout|"
    r"server misbehaving|module lookup disabled"
)

_MODULE = re.compile(r"go: downloading \S+ \S+")
_PACKAGE = re.compile(r"[\w.~/-]+")


def check_go(groups: Iterable[Group]) -> None:
    """Check that Go can build the groups.

    Raises:
        UserError: Go is missing, or too old and not allowed to download a newer toolchain.
    """
    groups = list(groups)
    needed = {group.name: required_go(group) for group in groups}
    newest = max(needed.values(), key=parse_version)
    go = shutil.which("go")
    names = ", ".join(needed)
    if go is None:
        raise UserError(
            f"Go is missing, and {names} is neither on PATH nor downloadable: install Go {newest} or newer "
            "(https://go.dev/dl) and put it on PATH."
        )
    version = _ask_go(go, ["env", "GOVERSION"]).removeprefix("go")
    toolchain = _ask_go(go, ["env", "GOTOOLCHAIN"])
    try:
        accepted = accepts(f">={newest}", version)
    except ValueError:
        accepted = version.startswith("devel")  # Go's own main branch
    # Empty for versions before 1.21, which do not support GOTOOLCHAIN.
    fetches_itself = toolchain not in ("", "local")
    if not accepted and not fetches_itself:
        raise UserError(
            f"Go {version or 'of an unknown version'} ({go}) is too old, {names} needs {newest}: install a newer Go "
            "(https://go.dev/dl) or let Go download it (go env -w GOTOOLCHAIN=auto)."
        )


def required_go(group: Group) -> str:
    """Return the Go version that the group's ``go.mod`` requires."""
    match = re.search(r"^go (\S+)$", (group.build.module / "go.mod").read_text(), re.MULTILINE)
    if match is None:
        raise UserError(f"{group.build.module / 'go.mod'} has no go line: run `go mod tidy` there.")
    return match[1]


def make_command(group: Group, go: str, target: Path) -> list[str]:
    """Return the command that builds a group into a folder.

    The build omits debug information (a third of the work, and unused here) and local paths. It does not modify go.mod
    and go.sum, so every module is the pinned one.
    """
    single = len(group.build.packages) == 1
    return [
        go,
        "build",
        "-v",
        "-trimpath",
        "-mod=readonly",
        "-buildvcs=false",
        "-gcflags=all=-dwarf=false",
        *(["-tags", group.build.tags] if group.build.tags else []),
        "-ldflags",
        f"-s -w {group.build.ldflags}".strip(),
        "-o",
        str(target / group.binaries[0]) if single else f"{target}/",
        *group.build.packages,
    ]


def make_environment(outer: dict[str, str]) -> dict[str, str]:
    """Return the environment of Go: the user's (proxies, module cache) plus settings for fast, reproducible builds."""
    folder = store.build_dir()
    return {
        "GOCACHE": str(folder / "gocache"),
        **outer,
        "CGO_ENABLED": "0",
        "GOWORK": "off",
        # Fewer garbage collections in the compiler: 20% less time for a few hundred MiB more memory.
        "GOGC": "400",
        # Beside the cache, because /tmp is often small or in memory.
        "GOTMPDIR": str(folder / "tmp"),
    }


def build(group: Group, folder: Path, report: Callable[[str], None]) -> Path:
    """Build a group and return the folder that contains its executables and nothing else.

    Raises:
        UserError: the build failed; the message explains common causes.
    """
    go = shutil.which("go")
    assert go is not None  # noqa: S101  # check_go ran before
    target, log = folder / "built", folder / "log"
    environment = make_environment(dict(os.environ))
    with store.writable(folder):
        target.mkdir()
        Path(environment["GOTMPDIR"]).mkdir(parents=True, exist_ok=True)
    report(f"{group.name} {group.version}: building with Go")
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            make_command(group, go, target),
            cwd=group.build.module,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a separate process group, so that all of it can be killed
        )
    store.note_child(group, process.pid)
    try:
        code = _wait(process, group, log, report)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if code != 0:
        raise UserError(explain(group, log.read_text(errors="replace")))
    report(f"{group.name} {group.version}: built in {time.monotonic() - began:.0f} s")
    return target


def explain(group: Group, output: str) -> str:
    """Return an error message for the output of a failed ``go build``."""
    lines = [line for line in output.splitlines() if not _is_progress(line)]
    tail = "\n".join(lines[-_TAIL_LINES:])
    if "no space left on device" in output:
        return (
            f"The disk is full (building {group.name} in {store.build_dir()}): free space, or set INFERSTACK_CACHE to "
            "a folder on another disk; what was built is kept."
        )
    if "SECURITY ERROR" in output or "checksum mismatch" in output:
        return (
            f"A Go module of {group.name} does not match its pin ({group.build.module / 'go.sum'}): check the module "
            f"proxy (go env GOPROXY).\n{tail}"
        )
    if "download go" in output and "toolchain" in output:
        return (
            f"Go could not download Go {required_go(group)} for {group.name}: install it manually "
            f"(https://go.dev/dl).\n{tail}"
        )
    if is_network_trouble(output):
        return (
            f"Go modules of {group.name} cannot be downloaded: check the network, or set GOPROXY to a reachable "
            f"proxy.\n{tail}"
        )
    return f"go build of {group.name} failed in {group.build.module}:\n{tail}"


def is_network_trouble(output: str) -> bool:
    """Return whether the output of Go reports a network failure."""
    return _NETWORK.search(output) is not None


def require_space(groups: Iterable[Group]) -> None:
    """Check that the disk has space to build the groups.

    Raises:
        UserError: it has not.
    """
    groups = list(groups)
    needed = sum(group.build.disk_gib for group in groups) + _SPARE_GIB
    store.require_space(store.build_dir(), needed, f"building {', '.join(group.name for group in groups)}")


def drop_cache() -> None:
    """Remove Go's build cache unless INFERSTACK_KEEP_BUILD_CACHE is set. Go's module cache stays."""
    if not os.environ.get("INFERSTACK_KEEP_BUILD_CACHE"):
        shutil.rmtree(store.build_dir(), ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], group: Group, log: Path, report: Callable[[str], None]) -> int:
    began = time.monotonic()
    while True:
        try:
            return process.wait(timeout=store.HEARTBEAT_S)
        except subprocess.TimeoutExpired:
            completed = progress(log.read_text(errors="replace"))
            report(f"{group.name}: building for {time.monotonic() - began:.0f} s, {completed}")


def progress(output: str) -> str:
    """Return the progress of ``go build -v``, which prints a line per downloaded module and compiled package."""
    lines = output.splitlines()
    modules, packages = (sum(pattern.fullmatch(line) is not None for line in lines) for pattern in (_MODULE, _PACKAGE))
    return f"{packages} packages done" + (f", {modules} modules fetched" if modules else "")


def _is_progress(line: str) -> bool:
    return any(pattern.fullmatch(line) for pattern in (_MODULE, _PACKAGE))


def _ask_go(go: str, args: list[str]) -> str:
    # In a folder without go.mod, which would make Go download the toolchain that it requires.
    completed = subprocess.run(
        [go, *args],
        capture_output=True,
        text=True,
        timeout=_GO_TIMEOUT_S,
        check=False,
        cwd="/",
        stdin=subprocess.DEVNULL,
    )
    return completed.stdout.strip()
