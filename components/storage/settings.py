"""Settings of the storage role; `checks` validates combinations."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictBool, StrictInt, StrictStr, StringConstraints

from components.settings import DnsLabel, RoleSettings
from components.storage.datasets import Dataset, DatasetName
from components.storage.runtime import NodePath, Runtime


class Kubelet(RoleSettings):
    """The kubelet's directory on the nodes."""

    root_dir: NodePath
    kubeconfig: NodePath


class StorageSettings(RoleSettings):
    """See defaults.yaml."""

    enabled: StrictBool
    namespace: DnsLabel
    role_arn: Annotated[StrictStr, StringConstraints(pattern=r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/\S+$")] | None
    wait_seconds: Annotated[StrictInt, Field(ge=1, le=86400)]
    kubelet: Kubelet
    runtime: Runtime
    datasets: dict[DatasetName, Dataset]

    def runtime_of(self, dataset: str) -> Runtime:
        """Return the runtime of a dataset: its settings overlaid on the shared ones."""
        return self.datasets[dataset].runtime.over(self.runtime)
