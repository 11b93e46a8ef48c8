"""``inferstack doctor``: the prerequisites of a stack."""

from __future__ import annotations

import asyncio
import datetime
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from components.addon import detect
from components.addon.plan import resolve
from components.addon.settings import Mode
from components.cluster.access import Access, find_access
from components.cluster.aws.demand import nat_gateways, quota_groups
from components.cluster.aws.names import Names
from components.cluster.settings import ClusterSettings, Place
from components.platform.settings import PlatformSettings
from components.security.prerequisites import Feature, check_daemonsets, check_nodes, features
from components.settings import PROJECT, load_role
from inferstack import aws
from inferstack.cli import output
from inferstack.cli.cluster import connected
from inferstack.cli.output import Format, FormatOption
from inferstack.cli.stack import control_plane
from inferstack.cli.stack.configuration import read_file, read_values, stack_file
from inferstack.engine import plugins
from inferstack.errors import UserError
from inferstack.project import cache_dir, project_root, state_dir
from inferstack.state.place import backend_of, find_problems, provider_of
from inferstack.toolchain import binaries, crds
from inferstack.toolchain.binaries import build
from inferstack.toolchain.binaries.catalogue import group_of, groups

_LOW_DISK_GIB = 2.0
"""etcd, logs and Pulumi's state need some hundred MiB; below this value, other writers soon fill the disk."""


@dataclass(frozen=True)
class Check:
    """Result of one check."""

    check: str
    state: str
    """``ok``, ``missing`` (needed) or ``note`` (good to know)."""
    detail: str


def doctor(
    stack: Annotated[str, typer.Option("--stack", "-s", help="Its quotas on AWS, or its cluster and nodes.")] = "local",
    form: FormatOption = Format.TABLE,
) -> None:
    """Check the prerequisites of a stack.

    Exits with status 1 if a prerequisite is missing.
    """
    values = read_values(stack_file(stack))
    examined = {"aws": lambda: examine_aws(stack, values), "existing": lambda: examine_existing(values)}
    checks = list(examined.get(str(values.get("inferstack:place")), examine)())
    output.emit([asdict(check) for check in checks], form)
    missing = [check.check for check in checks if check.state == "missing"]
    if missing:
        output.fail(f"missing: {', '.join(missing)}")
        raise typer.Exit(1)


def examine() -> Iterator[Check]:
    """Check all prerequisites of a rehearsal; changes nothing."""
    tools = binaries.inspect()
    yield Check("python", "ok", f"{platform.python_version()} ({platform.system()} {platform.machine()})")
    lacking = [source.addon for source in crds.sources().values() if not crds.place_of(source).is_dir()]
    yield check_go([tool.name for tool in tools if tool.path is None], lacking)
    yield from (check_disk(name, folder) for name, folder in (("state", state_dir()), ("cache", cache_dir())))
    yield from map(check_tool, tools)
    yield from map(check_crds, crds.sources().values())
    engine = next((tool.path for tool in tools if tool.name == "pulumi"), None)
    for choice in plugins.choices(state_dir() / "pulumi-home", engine):
        yield Check(f"pulumi plugin: {choice.name}", "ok", f"{choice.plugin.version}, {choice.origin}: {choice.path}")
    yield check_rehearsal(state_dir())


def examine_aws(stack: str, values: dict[str, Any]) -> Iterator[Check]:
    """Check what a stack on AWS requires of this machine and of the account; changes nothing.

    Raises:
        UserError: the stack's settings are wrong.
    """
    yield Check("python", "ok", f"{platform.python_version()} ({platform.system()} {platform.machine()})")
    # The kubeconfig runs it to get a token.
    command = shutil.which("aws")
    yield Check(
        "aws",
        "ok" if command else "missing",
        command or "the AWS CLI is not installed; kubectl requires it to get tokens",
    )
    wanted = {"pulumi", "helm"}
    yield from (check_tool(tool) for tool in binaries.inspect() if tool.name in wanted)
    yield from check_state(stack)
    settings = load_role("cluster", ClusterSettings, values.get("inferstack:cluster"))
    settings.check_place(Place.AWS, datetime.datetime.now(datetime.UTC).date())
    place = settings.aws
    names = Names.of(place, stack)
    needs = aws.quotas.requirements(
        quota_groups(place), nat_gateways=nat_gateways(place), endpoints=len(place.network.endpoints)
    )
    try:
        answers = aws.quotas.check_quotas(names.region, names.account, stack, needs)
    except UserError as error:
        yield Check("aws account", "missing", str(error))
        return
    yield Check("aws account", "ok", f"{names.account} in {names.region}")
    yield from map(check_quota, answers)


def examine_existing(values: dict[str, Any]) -> Iterator[Check]:
    """Check an existing cluster: the add-ons that others have installed, and the roles' requirements for its nodes.

    Raises:
        UserError: the stack's settings are wrong.
    """
    yield Check("python", "ok", f"{platform.python_version()} ({platform.system()} {platform.machine()})")
    wanted = {"pulumi", "helm", "kubectl"}
    yield from (check_tool(tool) for tool in binaries.inspect() if tool.name in wanted)
    settings = PlatformSettings.load({key.removeprefix(f"{PROJECT}:"): value for key, value in values.items()})
    try:
        access = find_access(settings.place, settings.cluster, state_dir(), os.environ)
        assert access is not None  # noqa: S101  # only a cluster that does not exist yet has none
        charts = settings.charts()
        present = detect.find_present(access, charts)
        nodes, daemonsets = asyncio.run(_read(access))
    except UserError as error:
        yield Check("cluster", "missing", str(error))
        return
    yield Check("cluster", "ok", f"{access.server}, {len(nodes)} nodes")
    for name in charts:
        mode = resolve(settings.addon.mode_of(name), settings.place, present=name in present)
        there = "installed, not by this stack" if name in present else "not installed, or installed by this stack"
        lacking = mode is Mode.PRESENT and name not in present
        yield Check(f"add-on {name}", "missing" if lacking else "ok", f"{mode}: {there}")
    asked = features(settings.security, wasm=False)
    problems = [*check_nodes(nodes, asked), *check_daemonsets(daemonsets, settings.security)]
    if settings.wasm.enabled:
        chosen = settings.wasm.node_selector.items()
        those = [node for node in nodes if chosen <= (node["metadata"].get("labels") or {}).items()]
        problems += check_nodes(those, {Feature.WASM})
    for problem in problems:
        yield Check(problem.where, "missing" if problem.known else "note", f"{problem.text} ({problem.source})")
    if not problems:
        yield Check("nodes", "ok", f"meet the requirements: {', '.join(sorted(asked)) or 'none'}")


async def _read(access: Access) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the nodes of a cluster and the DaemonSets in its kube-system namespace."""
    async with connected(access.kubeconfig, access.context) as kube:
        nodes = (await kube.list("v1", "Node"))["items"]
        return nodes, (await kube.list("apps/v1", "DaemonSet", "kube-system"))["items"]


def check_state(stack: str) -> Iterator[Check]:
    """Check where the state of a stack on AWS is kept and which provider encrypts its secrets."""
    backend, provider = backend_of(project_root(), os.environ), provider_of(read_file(stack_file(stack)))
    problems = find_problems(stack, "aws", backend, provider)
    yield from (Check("state", "missing", problem) for problem in problems)
    if not problems:
        yield Check("state", "ok", f"in {backend}, secrets encrypted by {provider}")


def check_quota(answer: aws.quotas.QuotaCheck) -> Check:
    """Check whether a quota is sufficient, and if not, state which value to request."""
    need, limit = answer.requirement, answer.limit
    used = f"{need.amount} needed ({need.why}), {answer.others} in use by others"
    if limit is None:
        return Check(f"quota: {need.name}", "note", f"{used}; Service Quotas does not return the limit ({need.code})")
    if answer.enough:
        return Check(f"quota: {need.name}", "ok", f"{used}, {limit} allowed")
    ask = answer.others + need.amount
    return Check(
        f"quota: {need.name}", "missing", f"{used}, {limit} allowed: ask Service Quotas for {ask} ({need.code})"
    )


def check_go(missing: list[str], lacking: list[str]) -> Check:
    """Check Go, which is required only if a tool in ``missing`` or the CRDs of an add-on in ``lacking`` are missing."""
    go = shutil.which("go")
    if not missing:
        if lacking and go is None:
            needed = f"not installed (https://go.dev/dl), but required for the CRDs of {', '.join(lacking)}"
            return Check("go", "missing", needed)
        return Check("go", "ok" if go else "note", go or "not installed, and not required: no tool is missing")
    try:
        build.check_go({group.name: group for group in (group_of(name, groups()) for name in missing)}.values())
    except UserError as error:
        return Check("go", "missing", str(error))
    return Check("go", "ok", str(go))


def check_tool(tool: binaries.Tool) -> Check:
    """Report where a tool comes from."""
    if tool.path is None:
        detail = f"{tool.version}; get it with `inferstack tools ensure`"
        return Check(tool.name, "missing", f"{detail} ({tool.note})" if tool.note else detail)
    note = f" ({tool.note})" if tool.note else ""
    return Check(tool.name, "ok", f"{tool.version}, {tool.origin}: {tool.path}{note}")


def check_crds(source: crds.Source) -> Check:
    """Check whether an add-on's CRDs are cached."""
    folder, name = crds.place_of(source), f"crds/{source.addon}"
    if not folder.is_dir():
        return Check(name, "missing", f"{source.version}; get them with `inferstack tools ensure`")
    return Check(name, "ok", f"{source.version}: {folder}")


def check_disk(name: str, folder: Path) -> Check:
    """Check whether a folder is writable and its disk has enough free space."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free / 2**30
    detail = f"{folder}: {free:.1f} GiB free" + ("" if there == folder else ", not created yet")
    if not os.access(there, os.W_OK):
        return Check(f"{name} folder", "missing", f"{detail}; {there} is not writable")
    return Check(f"{name} folder", "ok" if free >= _LOW_DISK_GIB else "missing", detail)


def check_rehearsal(state: Path) -> Check:
    """Check which components run: a stopped rehearsal is fine, a partly running one is not."""
    components = control_plane.components(state)
    running = [component.name for component in components if component.state == "running"]
    if len(running) == len(components):
        return Check("rehearsal", "ok", f"running: {', '.join(running)}")
    if not running:
        return Check("rehearsal", "note", "stopped; start it with `inferstack rehearsal start` or `make up`")
    down = ", ".join(
        f"{component.name} ({component.state})" for component in components if component.name not in running
    )
    return Check("rehearsal", "missing", f"not running: {down}; restart with `inferstack rehearsal start`")
