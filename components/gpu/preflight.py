"""The preflight: compatibility of GPU, driver, CUDA, container runtime, Kubernetes and the GPU operator. Pure.

The facts are in compatibility.yaml. Combinations that the matrix rules out are rejected. Combinations that it lacks are
rejected too, unless the stack allows them. Facts that the stack does not set, such as the driver of a node image, are
reported and checked on the nodes.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from components.gpu.compatibility import Operator, Range, Table

KEY = "inferstack:gpu"
_DRIVER = f"{KEY}.driver.version"
_RUNTIME = f"{KEY}.preflight.containerRuntime"


class State(enum.StrEnum):
    """The result of a check."""

    OK = "ok"
    WRONG = "wrong"
    UNKNOWN = "unknown"
    """The matrix has no matching row."""
    UNSTATED = "not stated"
    """The stack does not set the fact."""


@dataclass(frozen=True)
class Asked:
    """The versions that a stack requests."""

    operator: str | None
    """Chart version of the GPU operator; None if one is installed already."""
    driver: str | None
    """Version or branch of the driver; None for the operator's default, or unknown if it installs none."""
    installs_driver: bool
    proprietary: bool
    """Whether the proprietary kernel modules are requested."""
    gpus: Mapping[str, str]
    """GPU models by key path."""
    images: Mapping[str, str]
    """Image references with CUDA, by their key in versions.yaml."""
    kubernetes: str | None
    """Minor version, such as 1.34."""
    kubernetes_key: str
    """Key path of the version."""
    runtime: str | None
    """Container runtime as in a node's status: containerd://2.1.4."""
    nri: bool


@dataclass(frozen=True)
class Finding:
    """A check and its result."""

    part: str
    asked: str
    fits: str
    state: State
    key: str
    """Path of the key to change."""
    source: str

    @property
    def sentence(self) -> str:
        """The message, with the key first."""
        if self.state is State.WRONG:
            return f"{self.key}: {self.asked} does not fit {self.part}, which takes {self.fits} ({self.source})."
        return (
            f"{self.key}: nothing is known of {self.asked} with {self.part}; known to fit: {self.fits}. If you know "
            f"that it fits, set {KEY}.preflight.allowUnknown to true."
        )


def examine(asked: Asked, table: Table) -> list[Finding]:
    """Return all checks of a stack, including passed ones."""
    operator = table.operators.get(asked.operator or "")
    driver = asked.driver
    if driver is None and asked.installs_driver and operator:
        driver = operator.default_driver
    return [
        *_operator(asked, operator, table),
        *_driver(asked, driver, operator, table),
        *_gpus(asked, driver, table),
        *_cuda(asked, driver, table),
    ]


def refusals(findings: Iterable[Finding], *, allow_unknown: bool) -> list[str]:
    """Return the message of each check that must stop the program."""
    stop = {State.WRONG} if allow_unknown else {State.WRONG, State.UNKNOWN}
    return [finding.sentence for finding in findings if finding.state in stop]


def at_least(version: str, least: str) -> bool | None:
    """Return whether a version is at least another; None if it is too short to compare (580 and 580.82.07)."""
    actual, required = _numbers(version), _numbers(least)
    shared = min(len(actual), len(required))
    if actual[:shared] != required[:shared]:
        return actual > required
    return True if len(actual) >= len(required) else None


def _numbers(version: str) -> tuple[int, ...]:
    # The plain numbers of 2.1.4-rc.1 and 1.7.30+build.
    plain = re.split(r"[-+]", version, maxsplit=1)[0]
    return tuple(int(part) for part in plain.split("."))


def _operator(asked: Asked, operator: Operator | None, table: Table) -> Iterator[Finding]:
    if asked.operator is None:
        yield Finding("the GPU operator", "one that is there", ", ".join(table.operators), State.UNSTATED, KEY, "")
        return
    part = f"GPU operator {asked.operator}"
    if operator is None:
        releases = ", ".join(table.operators)
        yield Finding("this release", f"GPU operator {asked.operator}", releases, State.UNKNOWN, KEY, "")
        return
    source = table.sources[operator.source]
    fits = f"Kubernetes {operator.kubernetes}"
    if asked.kubernetes is None:
        yield Finding(part, "Kubernetes", fits, State.UNSTATED, asked.kubernetes_key, source)
    else:
        state = State.OK if _within(asked.kubernetes, operator.kubernetes) else State.WRONG
        yield Finding(part, f"Kubernetes {asked.kubernetes}", fits, state, asked.kubernetes_key, source)
    yield _runtime(part, asked.runtime, operator.runtimes, source)
    if asked.nri:
        yield _runtime("the plugin of cdi.nri", asked.runtime, dict(operator.nri), table.sources[operator.nri_source])


def _runtime(part: str, runtime: str | None, runtimes: Mapping[str, Range | None], source: str) -> Finding:
    fits = ", ".join(f"{name} {version_range}" if version_range else name for name, version_range in runtimes.items())
    if runtime is None:
        return Finding(part, "a container runtime", fits, State.UNSTATED, _RUNTIME, source)
    name, _, version = runtime.partition("://")
    shown, version_range = f"{name} {version}", runtimes.get(name)
    if name not in runtimes:
        return Finding(part, shown, fits, State.UNKNOWN, _RUNTIME, source)
    if version_range is None or _within(version, version_range):
        state = State.OK
    else:
        # A release newer than the matrix is not incompatible.
        state = State.WRONG if _minor(version) < _numbers(version_range.first) else State.UNKNOWN
    return Finding(part, shown, fits, state, _RUNTIME, source)


def _driver(asked: Asked, driver: str | None, operator: Operator | None, table: Table) -> Iterator[Finding]:
    if operator:
        part, branches, rows = f"GPU operator {asked.operator}", operator.drivers, [operator.source]
    else:
        rows = sorted({branch.source for branch in table.branches.values()})
        part, branches = "the nodes", {name: name for name in table.branches}
    source = "; ".join(table.sources[row] for row in rows)
    fits = "branches of " + ", ".join(f"{version}{_support(branch, table)}" for branch, version in branches.items())
    if driver is None:
        yield Finding(part, "the driver of the nodes' image", fits, State.UNSTATED, _DRIVER, source)
        return
    state = State.OK if driver.partition(".")[0] in branches else State.UNKNOWN
    yield Finding(part, f"driver {driver}", fits, state, _DRIVER, source)


def _support(branch: str, table: Table) -> str:
    entry = table.branches.get(branch)
    return f" ({entry.kind}, until {entry.end})" if entry else ""


def _gpus(asked: Asked, driver: str | None, table: Table) -> Iterator[Finding]:
    for key, gpu in asked.gpus.items():
        row = table.gpus.get(gpu)
        if row is None:
            yield Finding("this release", f"GPU {gpu}", ", ".join(table.gpus), State.UNKNOWN, key, "")
            continue
        source = table.sources[row.source]
        part, fits = f"the {gpu} of {key}", f"{row.driver} or later"
        if driver is None:
            yield Finding(part, "the driver of the nodes' image", fits, State.UNSTATED, _DRIVER, source)
        else:
            yield Finding(part, f"driver {driver}", fits, _judged(at_least(driver, row.driver)), _DRIVER, source)
        if row.open_modules and asked.proprietary:
            modules = f"{KEY}.driver.kernelModuleType"
            why = table.sources["open-modules"]
            yield Finding(part, "proprietary", "auto or open", State.WRONG, modules, why)


def _cuda(asked: Asked, driver: str | None, table: Table) -> Iterator[Finding]:
    for name, reference in asked.images.items():
        row = table.images.get(name)
        if row is None or row.reference != reference:
            images = row.reference if row else ", ".join(table.images)
            yield Finding("this release", f"the image {reference}", images, State.UNKNOWN, KEY, "")
            continue
        least = table.cuda[row.cuda.partition(".")[0]]
        part, fits = f"CUDA {row.cuda} of {reference}", f"{least.branch} or later"
        source = table.sources[least.source]
        if driver is None:
            yield Finding(part, "the driver of the nodes' image", fits, State.UNSTATED, _DRIVER, source)
        else:
            state = _judged(at_least(driver, str(least.branch)))
            yield Finding(part, f"driver {driver}", fits, state, _DRIVER, source)


def _judged(fits: bool | None) -> State:
    return State.UNKNOWN if fits is None else State.OK if fits else State.WRONG


def _minor(version: str) -> tuple[int, ...]:
    return _numbers(version)[:2]


def _within(version: str, allowed: Range) -> bool:
    return _numbers(allowed.first) <= _minor(version) <= _numbers(allowed.last)
