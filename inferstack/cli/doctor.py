"""Say what is in place and what is not."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from inferstack.cli import output
from inferstack.cli.output import Format, FormatOption
from inferstack.errors import UserError
from inferstack.project import cache_dir, state_dir
from inferstack.rehearsal import crds, tools
from inferstack.rehearsal.plane import Rehearsal
from inferstack.rehearsal.providers import plugins
from inferstack.rehearsal.tools import build
from inferstack.rehearsal.tools.catalogue import group_of, groups

_LOW_DISK_GIB = 2.0
"""etcd, logs and Pulumi's state take some hundred MiB; below this something else soon fills the disk."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    check: str
    state: str
    """``ok``, ``missing`` (needed) or ``note`` (good to know)."""
    detail: str


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    app.command()(doctor)


def doctor(form: FormatOption = Format.TABLE) -> None:
    """Show what is in place; exit code 1 where something that is needed is missing."""
    checks = list(examine())
    output.emit([asdict(check) for check in checks], form)
    missing = [check.check for check in checks if check.state == "missing"]
    if missing:
        output.fail(f"missing: {', '.join(missing)}")
        raise typer.Exit(1)


def examine() -> Iterator[Check]:
    """Look at everything that a rehearsal needs; changes nothing."""
    found = tools.inspect()
    yield Check("python", "ok", f"{platform.python_version()} ({platform.system()} {platform.machine()})")
    lacking = [source.addon for source in crds.sources().values() if not crds.place_of(source).is_dir()]
    yield check_go([tool.name for tool in found if tool.path is None], lacking)
    yield from (check_disk(name, folder) for name, folder in (("state", state_dir()), ("cache", cache_dir())))
    yield from map(check_tool, found)
    yield from map(check_crds, crds.sources().values())
    engine = next((tool.path for tool in found if tool.name == "pulumi"), None)
    for choice in plugins.choices(state_dir() / "pulumi-home", engine):
        yield Check(f"pulumi plugin: {choice.name}", "ok", f"{choice.plugin.version}, {choice.origin}: {choice.path}")
    yield check_rehearsal(Rehearsal(state_dir()))


def check_go(missing: list[str], lacking: list[str]) -> Check:
    """Look at Go, which is needed only where a tool is missing, or the CRDs of the add-ons in ``lacking``."""
    go = shutil.which("go")
    if not missing:
        if lacking and go is None:
            needed = f"not installed (https://go.dev/dl), and the CRDs of {', '.join(lacking)} come from Go modules"
            return Check("go", "missing", needed)
        return Check("go", "ok" if go else "note", go or "not installed, and not needed: all tools are there")
    try:
        build.check_go({group.name: group for group in (group_of(name, groups()) for name in missing)}.values())
    except UserError as error:
        return Check("go", "missing", str(error))
    return Check("go", "ok", str(go))


def check_tool(found: tools.Found) -> Check:
    """Say where a tool comes from."""
    if found.path is None:
        detail = f"{found.version}; `inferstack tools ensure` gets it"
        return Check(found.name, "missing", f"{detail} ({found.note})" if found.note else detail)
    note = f" ({found.note})" if found.note else ""
    return Check(found.name, "ok", f"{found.version}, {found.origin}: {found.path}{note}")


def check_crds(source: crds.Source) -> Check:
    """Say whether an add-on's CRDs are kept."""
    folder, name = crds.place_of(source), f"crds/{source.addon}"
    if not folder.is_dir():
        return Check(name, "missing", f"{source.version}; `inferstack tools ensure` gets them")
    return Check(name, "ok", f"{source.version}: {folder}")


def check_disk(name: str, folder: Path) -> Check:
    """Look at a folder: whether it can be written and how much room its disk has."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free / 2**30
    detail = f"{folder}: {free:.1f} GiB free" + ("" if there == folder else ", not made yet")
    if not os.access(there, os.W_OK):
        return Check(f"{name} folder", "missing", f"{detail}; {there} cannot be written")
    return Check(f"{name} folder", "ok" if free >= _LOW_DISK_GIB else "missing", detail)


def check_rehearsal(rehearsal: Rehearsal) -> Check:
    """Say which components run; a rehearsal that is stopped is in order, one that is half up is not."""
    components = rehearsal.status()
    running = [component.name for component in components if component.state == "running"]
    if len(running) == len(components):
        return Check("rehearsal", "ok", f"running: {', '.join(running)}")
    if not running:
        return Check("rehearsal", "note", "stopped; `inferstack rehearsal start` or `make up` starts it")
    down = ", ".join(
        f"{component.name} ({component.state})" for component in components if component.name not in running
    )
    return Check("rehearsal", "missing", f"not running: {down}; `inferstack rehearsal start` brings them back")
