"""The plan of a stack's add-ons: modes resolved, charts read and values validated before registration."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from components.addon.catalogue import AddonName, Facts, crd_reference, load
from components.addon.settings import AddonSettings, Mode
from components.addon.values import check, explain
from components.cluster.settings import Place
from components.objects import LABELS
from components.settings import PROJECT, merge
from inferstack.apimachinery.labels import ADDON
from inferstack.apimachinery.objects import Object
from inferstack.errors import UserError
from inferstack.toolchain import crds as module_crds
from inferstack.toolchain.charts import Archive, Pin, find, pins

Values = Mapping[str, Any]
_REHEARSED = Path(__file__).parent / "rehearsed"


@dataclass(frozen=True)
class Plan:
    """An add-on and how it is installed."""

    addon: AddonName
    facts: Facts
    mode: Mode
    """Any mode but auto."""
    crds: tuple[Object, ...] = ()
    """CRDs that Pulumi creates and deletes; Helm never deletes those of a ``crds/`` folder."""
    release: Values = field(default_factory=dict)
    """Inputs of the Helm release in mode chart."""

    @property
    def marker(self) -> Object:
        """A ConfigMap that marks the add-on as installed by this program."""
        meta = {
            "name": f"inferstack-addon-{self.addon}",
            "namespace": self.facts.namespace,
            "labels": {**LABELS, ADDON: self.addon},
        }
        data = {"mode": self.mode.value, "version": pins()[self.addon].version}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


@dataclass(frozen=True)
class Addons:
    """The add-ons that the roles of a stack request."""

    plans: Mapping[AddonName, Plan] = field(default_factory=dict)

    def __getitem__(self, addon: AddonName) -> Plan:
        """Return the plan of a requested add-on."""
        return self.plans[addon]


def make_addons(
    settings: AddonSettings, place: Place, charts: Mapping[AddonName, Values], present: Collection[AddonName]
) -> Addons:
    """Return the plans of the requested add-ons.

    Args:
        settings: the role's settings.
        place: determines the mode behind auto.
        charts: values by add-on, as the roles make them.
        present: add-ons that the cluster runs already.

    Raises:
        UserError: a chart cannot be read, or does not know a value.
    """
    for name in settings.values:
        if name not in charts:
            raise UserError(
                f"{PROJECT}:addon.values.{name}: no role of this stack uses it; used are {', '.join(sorted(charts))}."
            )
    facts = load()
    plans: dict[AddonName, Plan] = {}
    wrong: list[str] = []
    for name, values in charts.items():
        mode = resolve(settings.mode_of(name), place, present=name in present)
        if mode is Mode.CHART:
            plans[name], problems = _from_chart(name, facts[name], values, settings)
            wrong += problems
        else:
            crds = tuple(rehearsed_crds(name, facts[name])) if mode is Mode.REHEARSED else ()
            plans[name] = Plan(name, facts[name], mode, crds)
    if wrong:
        raise UserError("\n".join(wrong))
    return Addons(plans)


def chart_values(name: AddonName, values: Values, settings: AddonSettings) -> dict[str, Any]:
    """Return all values of a chart: the role's, those that leave CRDs to Pulumi, and the stack's own."""
    return merge(merge(values, load()[name].values), settings.values.get(name, {}))


def _from_chart(name: AddonName, facts: Facts, values: Values, settings: AddonSettings) -> tuple[Plan, list[str]]:
    """Return the plan of an add-on from its chart, and the errors in its values."""
    pin = pins()[name]
    archive = Archive(find(pin, settings.mirror))
    kept = [crd for file in facts.crd_files for crd in archive.crds_of(file)]
    if facts.crd_exclusion:
        excluded: Any = [crd["metadata"]["name"] for crd in kept]
        for key in reversed(facts.crd_exclusion.split(".")):
            excluded = {key: excluded}
        values = merge(values, excluded)
    crds = [*archive.crds, *kept]
    release = make_release(name, facts, chart_values(name, values, settings), settings, pin)
    plan = Plan(name, facts, Mode.CHART, tuple(map(owned, crds)), release)
    return plan, list(_problems(name, values, settings, archive, facts))


def resolve(mode: Mode, place: Place, *, present: bool) -> Mode:
    """Return the mode with ``auto`` resolved."""
    if mode is not Mode.AUTO:
        return mode
    if place is Place.LOCAL:
        return Mode.REHEARSED
    return Mode.PRESENT if present else Mode.CHART


def make_release(name: AddonName, facts: Facts, values: Values, settings: AddonSettings, pin: Pin) -> dict[str, Any]:
    """Return the inputs of the Helm release."""
    inputs: dict[str, Any] = {
        "name": name,
        "namespace": facts.namespace,
        "values": dict(values),
        "timeout": settings.timeout_seconds,
        # The next up repairs a failed installation; a rollback would leave custom resources stuck on finalizers.
        "atomic": False,
        # Pulumi registers the CRDs: Helm never upgrades or deletes them.
        "skipCrds": True,
    }
    if settings.mirror:
        # The path as the user wrote it: an absolute path differs between machines.
        return {**inputs, "chart": str(Path(settings.mirror).expanduser() / pin.file)}
    if pin.repo.startswith("oci://"):
        return {**inputs, "chart": f"{pin.repo}/{pin.chart}", "version": pin.version}
    return {**inputs, "chart": pin.chart, "version": pin.version, "repositoryOpts": {"repo": pin.repo}}


def rehearsed_crds(name: AddonName, facts: Facts) -> list[Object]:
    """Return the CRDs that replace an add-on in the rehearsal."""
    if facts.rehearsed == "own":
        crds = list(yaml.safe_load_all((_REHEARSED / f"{name}.yaml").read_text()))
    elif facts.rehearsed == "modules":
        crds = module_crds.load(facts.module or name, facts.crds)
    else:
        crds = []
    return [owned(crd) for crd in crds]


def owned(crd: Object) -> Object:
    """Return a CRD with the add-on's label, so that later runs recognize it as this program's."""
    meta = crd["metadata"]
    kept = {key: meta[key] for key in ("name", "annotations") if key in meta}
    labels = {**(meta.get("labels") or {}), **LABELS}
    head = crd_reference(meta["name"])
    return {**head, "metadata": {**kept, "labels": labels}, "spec": crd["spec"]}


def _problems(
    name: AddonName, values: Values, settings: AddonSettings, archive: Archive, facts: Facts
) -> Iterator[str]:
    """Yield the errors in the values of a chart, first the user's, then the program's."""
    sides = (
        (settings.values.get(name, {}), f"{PROJECT}:addon.values.{name}"),
        (merge(values, facts.values), f"values of the chart {archive.name} {archive.version}"),
    )
    for given, prefix in sides:
        if problem := explain(check(given, archive.values, facts.free), prefix):
            yield problem
