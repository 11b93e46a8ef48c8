"""The input of ``inferstack mig plan`` and ``diff``: fleet, demands and layouts, from files or from a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from inferstack.api import constants
from inferstack.apimachinery.labels import JOB
from inferstack.cli import output
from inferstack.cli.cluster import connected
from inferstack.errors import UserError
from inferstack.k8s import KubeClient
from inferstack.k8s.errors import UnknownKindError
from inferstack.mig.errors import MigError
from inferstack.mig.gpu_operator import API_VERSION, DEFAULT_LAYOUTS, NAMESPACE, POLICY
from inferstack.mig.mig_parted import dump_config, make_mig_parted_config, parse_config
from inferstack.mig.planner import Demand, Fleet
from inferstack.mig.planner.cluster import ClusterFleet, read_cluster
from inferstack.mig.planner.inputs import parse_demands, parse_fleet

_SHOWN = 20
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class PlannerInput:
    """The input of the planner."""

    fleet: Fleet
    demands: tuple[Demand, ...]
    layouts: str | None


def read_input(
    fleet: Path | None,
    demands: Path | None,
    from_cluster: bool,
    kubeconfig: Path | None,
    context: str | None,
    moves: bool,
    layouts: Path | None,
    *,
    needs_demands: bool = True,
) -> PlannerInput:
    """Return the validated input.

    Raises:
        UserError: naming the option or the key at fault.
    """
    if from_cluster == (fleet is not None):
        raise UserError("Give either --fleet FILE or --from-cluster.")
    if not from_cluster and (moves or kubeconfig or context):
        raise UserError("--allow-moves, --kubeconfig and --context require --from-cluster.")
    if from_cluster and layouts is not None:
        raise UserError("--layouts requires --fleet: with --from-cluster the configuration of the MIG manager is read.")
    if not from_cluster and demands is None and needs_demands:
        raise UserError("--demands FILE is required with --fleet.")
    extra = parse_file(demands, parse_demands) if demands is not None else ()
    if fleet is not None:
        text = _text(layouts) if layouts is not None else None
        if text is not None:
            _checked(str(layouts), parse_config, text)
        return PlannerInput(parse_file(fleet, parse_fleet), extra, text)
    observed, text = asyncio.run(_observe(kubeconfig, context, moves))
    for noun, reasons in (("node", observed.skipped), ("pod", observed.ignored)):
        for name, reason in _first(noun, reasons):
            output.say(f"{noun} {name} is skipped: {reason}")
    if moves:
        for name, reason in _first("pinned pod", observed.pinned):
            output.say(f"pod {name} is not moved: {reason}")
    if not observed.fleet.gpus:
        raise UserError("The cluster has no node with MIG-capable GPUs; `inferstack node list` shows its nodes.")
    duplicates = {demand.name for demand in observed.demands} & {demand.name for demand in extra}
    if duplicates:
        raise UserError(f"--demands: {min(duplicates)} already has pending pods in the cluster; choose another name.")
    return PlannerInput(observed.fleet, (*observed.demands, *extra), text)


def _first(noun: str, reasons: Mapping[str, str]) -> list[tuple[str, str]]:
    if len(reasons) > _SHOWN:
        output.say(f"{len(reasons)} {noun}s; the first {_SHOWN}:")
    return list(reasons.items())[:_SHOWN]


async def _observe(kubeconfig: Path | None, context: str | None, moves: bool) -> tuple[ClusterFleet, str]:
    async with connected(kubeconfig, context) as kube:
        text = await read_layouts(kube)
        nodes, pods = [(await kube.list("v1", kind))["items"] for kind in ("Node", "Pod")]
        try:
            jobs = (await kube.list(constants.API_VERSION, constants.KIND))["items"]
        except UnknownKindError:  # a cluster without the operator
            jobs = []
    layouts = _checked("the MIG manager's configuration", parse_config, text)
    return _checked("the cluster", lambda: read_cluster(nodes, pods, jobs, layouts, job_label=JOB, moves=moves)), text


async def read_layouts(kube: KubeClient) -> str:
    """Return the text of the MIG manager's configuration."""
    try:
        policy = await kube.find(API_VERSION, "ClusterPolicy", POLICY)
    except UnknownKindError:
        policy = None
    if policy is None:
        raise UserError("There is no ClusterPolicy: the GPU operator is not installed (role gpu).")
    manager = (policy.get("spec") or {}).get("migManager") or {}
    named = (manager.get("config") or {}).get("name") or ""
    config_map = await kube.find("v1", "ConfigMap", named or DEFAULT_LAYOUTS, NAMESPACE)
    if config_map is None:
        if named:
            raise UserError(f"ConfigMap {NAMESPACE}/{named}, which the ClusterPolicy names, does not exist.")
        return dump_config(make_mig_parted_config())
    text = (config_map.get("data") or {}).get("config.yaml")
    if text is None:
        raise UserError(f"ConfigMap {NAMESPACE}/{named or DEFAULT_LAYOUTS} has no key config.yaml.")
    return str(text)


def parse_file(file: Path, parse: Callable[[Any], _Result]) -> _Result:
    """Return the parsed content of a YAML file.

    Raises:
        UserError: naming the file and the key at fault.
    """
    try:
        content = yaml.load(_text(file), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  # both are safe
    except yaml.YAMLError as error:
        raise UserError(f"{file}: not YAML: {' '.join(str(error).split())}") from error
    return _checked(str(file), parse, content)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}.") from error


def _checked(where: str, parse: Callable[..., _Result], *arguments: Any) -> _Result:
    try:
        return parse(*arguments)
    except MigError as error:
        raise UserError("\n".join(f"{where}: {line}." for line in str(error).splitlines())) from error
