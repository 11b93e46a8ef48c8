"""The inference operator and the stack's jobs as components."""

from __future__ import annotations

from collections.abc import Collection

import pulumi

from components.inference.jobs import make_jobs
from components.inference.operator_objects import make_budget, make_deployment, make_namespace, make_rights
from components.inference.settings import InferenceSettings
from components.resource import KubeObject
from inferstack.api import InferenceJobSpec, crds
from inferstack.apimachinery.objects import Object
from inferstack.controllers.rbac import rules
from inferstack.versions import load as load_versions


class InferenceOperator(pulumi.ComponentResource):
    """The InferenceJob kind and the operator behind it."""

    ready: list[pulumi.Resource]
    """What jobs depend on: the operator outlives them, for it is what cleans up after them."""

    def __init__(self, name: str, settings: InferenceSettings, opts: pulumi.ResourceOptions) -> None:
        """Register CRDs, namespace and rights, then the Deployment, which is ready once the operator answers."""
        super().__init__("inferstack:inference:InferenceOperator", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        kinds = [KubeObject(crd["metadata"]["name"], crd, child) for crd in crds()]
        namespace = KubeObject("inferstack-system", make_namespace(), child)
        within = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[namespace]))
        rights: list[pulumi.Resource] = []
        for manifest in make_rights(rules()):
            # One after the other: whoever may not bind at will is refused a binding to a role that is not there yet.
            following = pulumi.ResourceOptions.merge(within, pulumi.ResourceOptions(depends_on=list(rights)))
            rights.append(KubeObject(f"operator-{manifest['kind'].lower()}", manifest, following))
        KubeObject("operator-poddisruptionbudget", make_budget(), within)
        running = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[*kinds, *rights]))
        image = load_versions()["images"]["operator"]
        deployment = KubeObject("operator", make_deployment(settings.operator, image), running)
        self.ready = [deployment]
        self.register_outputs({"deployment": deployment.metadata["name"]})


class InferenceJobs(pulumi.ComponentResource):
    """The stack's own jobs."""

    endpoints: pulumi.Output[dict[str, str]]
    """URL in the cluster of each job's service, by namespace/name."""
    table: pulumi.Output[list[dict[str, str]]]
    """Job, namespace, model and replicas as asked for."""
    ready: list[pulumi.Resource]
    """The jobs: what moves them comes after them and goes before them."""
    specs: dict[str, InferenceJobSpec]
    """What the jobs ask for, by namespace/name."""

    def __init__(
        self, name: str, settings: InferenceSettings, *, tenants: Collection[str], opts: pulumi.ResourceOptions
    ) -> None:
        """Check all jobs, then register them."""
        super().__init__("inferstack:inference:InferenceJobs", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        jobs = make_jobs(settings, tenants)
        self.ready = []
        for job in jobs:
            meta = job["metadata"]
            self.ready.append(KubeObject(f"job-{meta['namespace']}-{meta['name']}", job, child))
        named = {f"{job['metadata']['namespace']}/{job['metadata']['name']}": job for job in jobs}
        self.specs = {key: InferenceJobSpec.model_validate(job["spec"]) for key, job in named.items()}
        self.endpoints = pulumi.Output.from_input(
            {key: f"http://{job['metadata']['name']}.{job['metadata']['namespace']}.svc" for key, job in named.items()}
        )
        self.table = pulumi.Output.from_input(
            [{"job": key, "model": job["spec"]["model"], "replicas": str(_replicas(job))} for key, job in named.items()]
        )
        self.register_outputs({"endpoints": self.endpoints, "table": self.table})


def _replicas(job: Object) -> int:
    """Return the replicas that a checked job asks for; the key may be left out."""
    return InferenceJobSpec.model_validate(job["spec"]).replicas
