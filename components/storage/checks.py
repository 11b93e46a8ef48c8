"""Checks of datasets against tenants, nodes and jobs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from fractions import Fraction

from components.cluster.settings import NodeGroup
from components.settings import key_path
from components.storage.datasets import Dataset, below
from components.storage.runtime import Runtime
from components.storage.settings import StorageSettings
from inferstack.apimachinery.objects import Object
from inferstack.apimachinery.quantity import parse_quantity
from inferstack.errors import UserError
from inferstack.mig import catalogue

_KEY = "inferstack:storage"


def check_storage(
    settings: StorageSettings, *, tenants: Collection[str], jobs: Sequence[Object], fleet: Mapping[str, NodeGroup]
) -> None:
    """Check the datasets against the rest of the stack.

    Args:
        settings: the role's settings.
        tenants: names of the tenants.
        jobs: the stack's InferenceJobs in the order of their settings.
        fleet: the nodes that the stack creates, by group; empty if it creates none.

    Raises:
        UserError: one line for each invalid key.
    """
    wrong = [*_datasets(settings, tenants), *_memory(settings, fleet), *_jobs(settings, jobs)]
    if wrong:
        # An error in the shared runtime would be reported for each dataset.
        raise UserError("\n".join(dict.fromkeys(wrong)))


def _datasets(settings: StorageSettings, tenants: Collection[str]) -> Iterator[str]:
    if settings.datasets and not settings.enabled:
        yield f"{_KEY}.datasets: requires Fluid; set {_KEY}.enabled: true."
    if settings.namespace in tenants:
        yield (
            f"{_KEY}.namespace: {settings.namespace} is a tenant's namespace, and tenants must not read "
            "the buckets' keys; use another."
        )
    for name, dataset in settings.datasets.items():
        key = key_path(_KEY, ("datasets", name))
        for index, tenant in enumerate(dataset.tenants):
            if tenant not in tenants:
                names = ", ".join(sorted(tenants)) or "none"
                yield f'{key}.tenants[{index}]: no tenant "{tenant}"; there are {names}.'
            elif tenant in dataset.tenants[:index]:
                yield f"{key}.tenants[{index}]: {tenant} is a duplicate."
        runtime = settings.runtime_of(name)
        yield from _load(key, dataset, runtime)
        yield from _tiers(_key_of(settings, name, "tieredstore"), runtime)


def _key_of(settings: StorageSettings, dataset: str, field: str) -> str:
    """Return the key of a field of a dataset's runtime: in the dataset, or in the shared runtime."""
    own = field in settings.datasets[dataset].runtime.model_fields_set
    return key_path(_KEY, ("datasets", dataset, "runtime", field) if own else ("runtime", field))


def _load(key: str, dataset: Dataset, runtime: Runtime) -> Iterator[str]:
    roots = [mount.path for mount in dataset.mounts]
    if dataset.load and (dataset.load.policy == "Cron") != (dataset.load.schedule is not None):
        yield f"{key}.load.schedule: is required for the policy Cron only; the policy is {dataset.load.policy}."
    for index, target in enumerate(dataset.load.target if dataset.load else ()):
        at = f"{key}.load.target[{index}]"
        # / contains all mounts.
        if target.path != "/" and not any(below(target.path, root) for root in roots):
            yield f"{at}.path: {target.path} is not in a mount; mounts are at {', '.join(roots)}."
        if target.replicas > runtime.replicas:
            yield f"{at}.replicas: {target.replicas} exceeds the number of workers, {runtime.replicas}."
        elif target.replicas > runtime.data_replicas:
            yield (
                f"{at}.replicas: {target.replicas} exceeds {key}.runtime.dataReplicas, "
                f"which is {runtime.data_replicas}."
            )


def _tiers(key: str, runtime: Runtime) -> Iterator[str]:
    if not runtime.tieredstore:
        yield f"{key}: needs 1 or more entries: a worker without a tier keeps nothing."
    limit = runtime.worker.resources.limits.get("memory")
    for index, level in enumerate(runtime.tieredstore):
        if float(level.low) >= float(level.high):
            yield f"{key}[{index}].low: {level.low} is not below high, which is {level.high}: no room would be made."
        room = parse_quantity(level.quota) * len(level.paths)
        if level.mediumtype == "MEM" and limit is not None and room > parse_quantity(limit):
            yield (
                f"{key}[{index}].quota: {level.quota} of memory is more than the worker may use: "
                f"worker.resources.limits.memory is {limit}."
            )


def _memory(settings: StorageSettings, fleet: Mapping[str, NodeGroup]) -> Iterator[str]:
    """Yield an error if the memory tiers of all datasets together exceed the memory of the smallest GPU node."""
    machines = {
        name: catalogue.instance_type(group.instance_type)
        for name, group in fleet.items()
        if group.count and catalogue.instance_type(group.instance_type).gpus
    }
    if not machines:
        return
    group, machine = min(machines.items(), key=lambda item: parse_quantity(item[1].memory))
    taken = Fraction(0)
    for name in settings.datasets:
        for index, level in enumerate(settings.runtime_of(name).tieredstore):
            taken += parse_quantity(level.quota) * len(level.paths) if level.mediumtype == "MEM" else 0
            if level.mediumtype == "MEM" and taken > parse_quantity(machine.memory):
                at = _key_of(settings, name, "tieredstore")
                yield (
                    f"{at}[{index}].quota: with {level.quota} the datasets may take {round(taken / 2**30)}Gi of memory "
                    f"on one node; {machine.name} (fleet.{group}) has {machine.memory}."
                )
                return


def _jobs(settings: StorageSettings, jobs: Sequence[Object]) -> Iterator[str]:
    for index, job in enumerate(jobs):
        cache = job["spec"].get("cache")
        if not cache:
            continue
        name, path, namespace = cache["dataset"], cache.get("path", "/"), job["metadata"]["namespace"]
        key = f"inferstack:inference.jobs[{index}].spec.cache"
        given = sorted(
            dataset_name for dataset_name, dataset in settings.datasets.items() if namespace in dataset.tenants
        )
        if name not in given:
            hint = f"it has {', '.join(given)}" if given else "it has none"
            if name in settings.datasets:
                hint = f"add it to {key_path(_KEY, ('datasets', name))}.tenants"
            yield f'{key}.dataset: the tenant {namespace} has no dataset "{name}"; {hint}.'
            continue
        roots = [mount.path for mount in settings.datasets[name].mounts]
        if not any(below(path, root) for root in roots):
            yield f"{key}.path: {path} is not in a mount of {name}; mounts are at {', '.join(roots)}."
