"""The components of the inference operator and the stack's jobs."""

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
    """The InferenceJob CRD and its operator."""

    ready: list[pulumi.Resource]
    """Dependencies of jobs: the operator outlives them, as it cleans up after them."""

    def __init__(self, name: str, settings: InferenceSettings, opts: pulumi.ResourceOptions) -> None:
        """Register CRDs, namespace and RBAC objects, then the Deployment, which is ready once the operator is."""
        super().__init__("inferstack:inference:InferenceOperator", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        kinds = [KubeObject(crd["metadata"]["name"], crd, child) for crd in crds()]
        namespace = KubeObject("inferstack-system", make_namespace(), child)
        within = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[namespace]))
        rights: list[pulumi.Resource] = []
        for manifest in make_rights(rules()):
            # Sequential: without the verb bind, a binding to a role that does not exist yet is rejected.
            following = pulumi.ResourceOptions.merge(within, pulumi.ResourceOptions(depends_on=list(rights)))
            rights.append(KubeObject(f"operator-{manifest['kind'].lower()}", manifest, following))
        KubeObject("operator-poddisruptionbudget", make_budget(), within)
        running = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[*kinds, *rights]))
        image = load_versions()["images"]["operator"]
        deployment = KubeObject("operator", make_deployment(settings.operator, image), running)
        self.ready = [deployment]
        self.register_outputs({"deployment": deployment.metadata["name"]})


class InferenceJobs(pulumi.ComponentResource):
    """The jobs of the stack."""

    endpoints: pulumi.Output[dict[str, str]]
    """In-cluster URL of each job's Service, by namespace/name."""
    table: pulumi.Output[list[dict[str, str]]]
    """Job, namespace, model and replicas as specified."""
    ready: list[pulumi.Resource]
    """The jobs; autoscalers depend on them."""
    specs: dict[str, InferenceJobSpec]
    """Specs of the jobs, by namespace/name."""

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
    """Return the replicas of a checked job; the key is optional."""
    return InferenceJobSpec.model_validate(job["spec"]).replicas
