"""A folder of charts for the program: real names, pins, default values and CRDs, and a template of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from components.addon.catalogue import load
from components.addon.plan import rehearsed_crds
from components.gpu.builders import make_cluster_policy
from components.platform.settings import PlatformSettings
from components.settings import merge
from inferstack.project import project_root
from inferstack.toolchain.charts import pins
from tests.charts import make_chart

_SUB_CHARTS: dict[str, tuple[str, ...]] = {
    "kube-prometheus-stack": ("grafana", "kube-state-metrics", "prometheus-node-exporter"),
    "gpu-operator": ("node-feature-discovery",),
}
"""Values below these names are those of charts inside the chart, whose defaults are in files of their own."""
_TEMPLATES = {
    "objects.yaml": """
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}-values"}
data: {values.yaml: {{ toYaml .Values | quote }}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: "{{ .Release.Name }}"}
spec:
  selector: {matchLabels: {app: "{{ .Release.Name }}"}}
  template:
    metadata: {labels: {app: "{{ .Release.Name }}"}}
    spec: {containers: [{name: main, image: "registry.invalid/{{ .Release.Name }}:v1"}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "{{ .Release.Name }}-chart"}
rules: []
"""
}
_REFERENCE = project_root().parent / "shared" / "reference" / "values"


def make_mirror(folder: Path) -> None:
    """Pack a chart for each add-on.

    Its default values are the real chart's where they are beside this checkout, else whatever the roles set: then
    the program runs all the same, and the tests that hold values against charts say that they cannot.
    """
    set_by_roles = _charts_of_all_stacks()
    for name, facts in load().items():
        pin = pins()[name]
        real = _REFERENCE / f"{pin.chart}-{pin.version}.values.yaml"
        ours = set_by_roles.get(name, {})
        values = yaml.safe_load(real.read_text()) if real.exists() else ours
        for inside in _SUB_CHARTS.get(name, ()):
            values[inside] = merge(values.get(inside) or {}, ours.get(inside) or {})
        crds = rehearsed_crds(name, facts)
        files = dict.fromkeys(facts.crd_files, yaml.safe_dump_all(crds))
        # The real chart makes the policy of its values; without one the nodes have no GPUs.
        own = {"policy.yaml": yaml.safe_dump(_policy())} if name == "gpu-operator" else {}
        make_chart(folder, pin, values, [] if files else crds, templates={**_TEMPLATES, **own}, files=files)


def _policy() -> dict[str, Any]:
    settings = _settings(project_root() / "stacks" / "Pulumi.local.yaml")
    return make_cluster_policy(settings.gpu, monitored=settings.monitoring.enabled)


def _settings(path: Path) -> PlatformSettings:
    config = yaml.safe_load(path.read_text())["config"]
    return PlatformSettings.load({key.removeprefix("inferstack:"): value for key, value in config.items()})


def _charts_of_all_stacks() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((project_root() / "stacks").glob("Pulumi.*.yaml")):
        for name, values in _settings(path).charts().items():
            found[name] = merge(found.get(name, {}), merge(values, load()[name].values))
    return found
