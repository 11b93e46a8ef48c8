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
from tests import chart_values
from tests.charts import make_chart

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


def make_mirror(folder: Path) -> None:
    """Pack a chart for each add-on; its values are those in ``tests/data/chart_values``."""
    for name, facts in load().items():
        pin = pins()[name]
        values = chart_values.defaults_of(name)
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


def values_of_all_stacks() -> dict[str, dict[str, Any]]:
    """Return the values that the shipped stacks give to each chart."""
    values_of: dict[str, dict[str, Any]] = {}
    for path in sorted((project_root() / "stacks").glob("Pulumi.*.yaml")):
        for name, values in _settings(path).charts().items():
            values_of[name] = merge(values_of.get(name, {}), merge(values, load()[name].values))
    return values_of
