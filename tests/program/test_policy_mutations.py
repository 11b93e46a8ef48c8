"""Stacks that ship, each changed in one place: the rule that is meant for it speaks, and no other does."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from inferstack.policy.evaluate import Finding, apply
from inferstack.policy.examples import resource_of
from inferstack.policy.registry import rules
from inferstack.policy.resource import Resource, Stack, get
from inferstack.policy.settings import PolicySettings
from tests.program.aws.conftest import record, settings_of
from tests.program.conftest import Machine
from tests.program.policy_stacks import shipped, stack_of

TODAY = dt.date(2026, 11, 25)
STRICT = PolicySettings.strict()

Object = dict[str, Any]
Change = Callable[[Sequence[Resource]], Iterator[Resource]]


@dataclass(frozen=True)
class Mutation:
    """One change of a stack."""

    rule: str
    """Which is to speak of it, alone."""
    stack: str
    what: str
    change: Change


def edited(kind: str, name: str, *path: str | int, to: Any = None, drop: bool = False, made: bool = False) -> Change:
    """Change one value of the one resource of a kind with this name; ``made``: that which the operator will make."""

    def change(resources: Sequence[Resource]) -> Iterator[Resource]:
        hits = 0
        for one in resources:
            if not _is(one, kind, name) or bool(one.origin) is not made:
                yield one
                continue
            hits += 1
            properties = copy.deepcopy(one.properties)
            place: Any = properties
            for key in path[:-1]:
                place = place.setdefault(key, {}) if isinstance(key, str) else place[key]
            if drop:
                del place[path[-1]]
            else:
                place[path[-1]] = to(place.get(path[-1])) if callable(to) else to
            yield dataclasses.replace(one, properties=properties)
        assert hits == 1, f"{hits} resources are {kind} {name}"

    return change


def gone(kind: str, name: str, *, made: bool = False) -> Change:
    """Leave one resource out."""

    def change(resources: Sequence[Resource]) -> Iterator[Resource]:
        kept = [one for one in resources if not (_is(one, kind, name) and bool(one.origin) is made)]
        assert len(kept) == len(resources) - 1
        yield from kept

    return change


def bared(kind: str, name: str) -> Change:
    """Take Pulumi's protection off one resource."""

    def change(resources: Sequence[Resource]) -> Iterator[Resource]:
        assert [one.protect for one in resources if _is(one, kind, name)] == [True]
        yield from (dataclasses.replace(one, protect=False) if _is(one, kind, name) else one for one in resources)

    return change


def added(stack: str, **given: Any) -> Change:
    """Add a resource."""

    def change(resources: Sequence[Resource]) -> Iterator[Resource]:
        yield from (*resources, resource_of(given, stack))

    return change


def _is(resource: Resource, kind: str, name: str) -> bool:
    label = get(resource.properties, "metadata", "name") if resource.manifest else resource.name
    # A component may be called like what it is made of.
    return not resource.type.startswith("inferstack:") and resource.type.rpartition(":")[2] == kind and label == name


def policy(change: Callable[[list[Object]], Any]) -> Callable[[str], str]:
    """Return what changes the statements of a policy of AWS."""

    def changed(text: str) -> str:
        document = json.loads(text)
        change(document["Statement"])
        return json.dumps(document)

    return changed


def container(name: str, *path: str | int, to: Any = None, drop: bool = False, made: bool = False) -> Change:
    """Change the first container of a Deployment."""
    return edited("Deployment", name, "spec", "template", "spec", "containers", 0, *path, to=to, drop=drop, made=made)


def release(stack: str, chart: str, **values: Any) -> Change:
    """Add a chart."""
    properties = {"chart": chart, "namespace": chart, "values": values}
    return added(stack, type="kubernetes:helm.sh/v3:Release", name=chart, properties=properties)


JOB = "nlp-model-001"
MODELS = "models"
ENCRYPTION = "BucketServerSideEncryptionConfiguration"
TO_CANARY = [{"destination": {"host": JOB, "subset": "canary"}, "weight": 100}]
GPU_LIMITS = ("spec", "resources", "limits")
MUTATIONS = [
    Mutation(rule, stack, what, change)
    for rule, stack, what, change in (
        # Buckets, disks and keys.
        ("aws-bucket-public-access-blocked", "prod", "no block", gone("BucketPublicAccessBlock", MODELS)),
        (
            "aws-bucket-public-access-blocked",
            "dev",
            "public policies",
            edited("BucketPublicAccessBlock", MODELS, "blockPublicPolicy", to=False),
        ),
        (
            "aws-bucket-encrypted-with-kms",
            "prod",
            "S3's own key",
            edited(ENCRYPTION, MODELS, "rules", 0, "applyServerSideEncryptionByDefault", to={"sseAlgorithm": "AES256"}),
        ),
        (
            "aws-bucket-versioned",
            "staging",
            "suspended",
            edited("BucketVersioning", MODELS, "versioningConfiguration", "status", to="Suspended"),
        ),
        (
            "aws-bucket-tls-only",
            "prod",
            "statement left out",
            edited("BucketPolicy", MODELS, "policy", to=policy(lambda found: found.pop(0))),
        ),
        (
            "aws-volumes-encrypted",
            "prod",
            "disk in clear",
            edited("LaunchTemplate", "h100", "blockDeviceMappings", 0, "ebs", "encrypted", to="false"),
        ),
        ("aws-keys-rotate", "prod", "for ever", edited("Key", MODELS, "enableKeyRotation", to=False)),
        ("storage-classes-encrypted", "prod", "in clear", edited("StorageClass", "gp3", "parameters", to={})),
        # Rights.
        (
            "aws-iam-no-wildcards",
            "dev",
            "all of ECR",
            edited("RolePolicy", "node", "policy", to=policy(lambda found: found[0].update(Action="ecr:*"))),
        ),
        (
            "aws-iam-no-wildcards",
            "prod",
            "no condition",
            edited(
                "RolePolicy",
                "autoscaler",
                "policy",
                to=policy(lambda found: found[1].update(Resource="*", Condition={})),
            ),
        ),
        (
            "aws-roles-name-whom-they-trust",
            "prod",
            "any pod",
            edited("Role", "balancers", "assumeRolePolicy", to=policy(lambda found: found[0].pop("Condition"))),
        ),
        # Who reaches what.
        (
            "aws-instances-imdsv2",
            "staging",
            "no session",
            edited("LaunchTemplate", "a100", "metadataOptions", "httpTokens", to="optional"),
        ),
        (
            "aws-instances-imdsv2",
            "prod",
            "into pods",
            edited("LaunchTemplate", "system", "metadataOptions", "httpPutResponseHopLimit", to=3),
        ),
        (
            "aws-no-open-security-groups",
            "prod",
            "everyone",
            edited("SecurityGroupIngressRule", "endpoints-https", "cidrIpv4", to="0.0.0.0/0"),
        ),
        (
            "aws-eks-endpoint-private",
            "dev",
            "everyone",
            edited("Cluster", "cluster", "vpcConfig", "publicAccessCidrs", to=["0.0.0.0/0"]),
        ),
        (
            "aws-eks-secrets-encrypted",
            "prod",
            "no key",
            edited("Cluster", "cluster", "encryptionConfig", drop=True),
        ),
        # What is written down, who pays, what stays.
        ("aws-eks-audited", "staging", "one log", edited("Cluster", "cluster", "enabledClusterLogTypes", to=["api"])),
        ("aws-logs-are-kept", "prod", "a month", edited("LogGroup", "control-plane", "retentionInDays", to=30)),
        ("aws-logs-are-kept", "dev", "for ever", edited("LogGroup", "control-plane", "retentionInDays", drop=True)),
        ("aws-resources-tagged", "prod", "nobody pays", edited("NodeGroup", "h100", "tags", "cost-center", drop=True)),
        ("aws-prod-protected", "prod", "bucket", bared("Bucket", MODELS)),
        ("aws-prod-keeps-its-data", "prod", "empties itself", edited("Bucket", MODELS, "forceDestroy", to=True)),
        ("aws-cost-capped", "prod", "40 nodes", edited("NodeGroup", "h100", "scalingConfig", "desiredSize", to=40)),
        # GPUs.
        (
            "gpu-kind-is-on-the-fleet",
            "local",
            "slice of no layout",
            edited("InferenceJob", JOB, *GPU_LIMITS, to={"nvidia.com/mig-7g.141gb": 1}),
        ),
        (
            "gpu-kind-is-on-the-fleet",
            "staging",
            "slice of other GPUs",
            added(
                "staging",
                apiVersion="deepseek.ai/v1",
                kind="InferenceJob",
                metadata={"name": "bert", "namespace": "nlp"},
                spec={
                    "model": "bert-base-uncased",
                    "resources": {key: {"nvidia.com/mig-1g.10gb": 1} for key in ("requests", "limits")},
                },
            ),
        ),
        (
            "gpu-model-fits-its-slice",
            "local",
            "70B",
            edited("InferenceJob", JOB, "spec", "model", to="meta-llama/Llama-3.3-70B-Instruct"),
        ),
        (
            "gpu-driver-supported",
            "local",
            "a branch that ended",
            edited("ClusterPolicy", "cluster-policy", "spec", "driver", "version", to="535.309.01"),
        ),
        (
            "gpu-driver-from-one-place",
            "prod",
            "twice",
            edited("Release", "gpu-operator", "values", "driver", "enabled", to=True),
        ),
        ("gpu-one-allocator", "prod", "DRA too", release("prod", "nvidia-dra-driver-gpu")),
        (
            "gpu-claims-or-counts",
            "local",
            "claims too",
            edited("Deployment", JOB, "spec", "template", "spec", "resourceClaims", to=[{"name": "gpu"}], made=True),
        ),
        (
            "gpu-requests-equal-limits",
            "local",
            "two of them",
            container(JOB, "resources", "requests", "nvidia.com/gpu", to="2", made=True),
        ),
        (
            "gpu-no-visible-devices-override",
            "local",
            "all GPUs",
            container(JOB, "env", to=[{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}], made=True),
        ),
        # Networks.
        (
            "sriov-functions-bounded",
            "local",
            "128",
            edited("SriovNetworkNodePolicy", "mlnx-rdma", "spec", "numVfs", to=128),
        ),
        (
            "sriov-rdma-keeps-its-driver",
            "local",
            "vfio",
            edited("SriovNetworkNodePolicy", "mlnx-rdma", "spec", "deviceType", to="vfio-pci"),
        ),
        (
            "efa-fits-the-instance",
            "local",
            "64",
            edited("InferenceJob", JOB, *GPU_LIMITS, "vpc.amazonaws.com/efa", to=64),
        ),
        (
            "services-not-exposed",
            "local",
            "to the internet",
            edited("Service", JOB, "spec", "type", to="LoadBalancer", made=True),
        ),
        (
            "services-no-external-ips",
            "local",
            "an address",
            edited("Service", JOB, "spec", "externalIPs", to=["203.0.113.7"], made=True),
        ),
        # The mesh.
        (
            "mesh-mtls-strict",
            "existing",
            "plain too",
            edited("PeerAuthentication", "plain-ports", "metadata", "annotations", to={}),
        ),
        (
            "mesh-clients-speak-tls",
            "prod",
            "off",
            edited("DestinationRule", "jobs", "spec", "trafficPolicy", "tls", to={"mode": "DISABLE"}),
        ),
        (
            "mesh-pods-stay-inside",
            "local",
            "outside",
            edited(
                "Deployment",
                JOB,
                "spec",
                "template",
                "metadata",
                "labels",
                "sidecar.istio.io/inject",
                to="false",
                made=True,
            ),
        ),
        (
            "mesh-encrypts-once",
            "existing",
            "WireGuard below",
            release("existing", "cilium", encryption={"enabled": True, "type": "wireguard"}),
        ),
        # Delivery.
        (
            "canary-before-all",
            "local",
            "all of it",
            edited("VirtualService", JOB, "spec", "http", 0, "route", to=TO_CANARY),
        ),
        (
            "rollouts-are-gradual",
            "local",
            "all at once",
            edited("InferenceJob", JOB, "spec", "disruption", to={"maxUnavailable": "100%"}),
        ),
        (
            "precision-has-a-report",
            "local",
            "half",
            edited("InferenceJob", JOB, "spec", "args", to=["--dtype", "float16"]),
        ),
        ("replicas-have-budgets", "local", "no budget", gone("PodDisruptionBudget", JOB, made=True)),
        (
            "replicas-are-spread",
            "local",
            "anywhere",
            edited("Deployment", JOB, "spec", "template", "spec", "topologySpreadConstraints", drop=True, made=True),
        ),
        (
            "disruption-budgets-let-nodes-drain",
            "existing",
            "none may go",
            edited("PodDisruptionBudget", "inferstack-operator", "spec", to={"maxUnavailable": 0, "selector": {}}),
        ),
        ("servers-have-probes", "local", "no probe", container(JOB, "readinessProbe", drop=True, made=True)),
        (
            "autoscalers-are-bounded",
            "local",
            "thousand",
            edited("HorizontalPodAutoscaler", JOB, "spec", "maxReplicas", to=1000, made=True),
        ),
        # Tenants, rights, pods and images.
        ("tenants-have-quota-and-limits", "existing", "no limits", gone("LimitRange", "containers")),
        ("tenants-are-fenced", "staging", "no fence", gone("NetworkPolicy", "default-deny")),
        (
            "tenant-quotas-cap-gpus",
            "dev",
            "GPUs for all",
            edited("ResourceQuota", "tenant", "spec", "hard", "requests.nvidia.com/gpu", drop=True),
        ),
        (
            "tenants-hold-pod-security",
            "prod",
            "privileged",
            edited("Namespace", "nlp", "metadata", "labels", "pod-security.kubernetes.io/enforce", to="privileged"),
        ),
        (
            "objects-carry-labels",
            "existing",
            "none",
            edited("ResourceQuota", "tenant", "metadata", "labels", drop=True),
        ),
        (
            "rbac-no-wildcards",
            "existing",
            "every verb",
            added(
                "existing",
                apiVersion="rbac.authorization.k8s.io/v1",
                kind="Role",
                metadata={"name": "jobs", "namespace": "nlp"},
                rules=[{"apiGroups": ["deepseek.ai"], "resources": ["inferencejobs"], "verbs": ["*"]}],
            ),
        ),
        (
            "rbac-no-cluster-admin",
            "existing",
            "the tenant",
            edited("RoleBinding", "tenant", "roleRef", "name", to="cluster-admin"),
        ),
        (
            "pods-have-resources",
            "local",
            "no limit",
            container(JOB, "resources", "limits", "memory", drop=True, made=True),
        ),
        (
            "runtime-classes-known",
            "local",
            "unknown",
            edited("Deployment", JOB, "spec", "template", "spec", "runtimeClassName", to="fast", made=True),
        ),
        (
            "images-from-allowed-registries",
            "prod",
            "from elsewhere",
            container("inferstack-operator", "image", to="images.example/operator:0.1.0"),
        ),
        (
            "images-not-latest",
            "local",
            "latest",
            container(JOB, "image", to="ghcr.io/example/server:latest", made=True),
        ),
        (
            "job-images-by-digest",
            "local",
            "a tag",
            edited("InferenceJob", JOB, "spec", "image", to="ghcr.io/example/server:1"),
        ),
    )
]
SETTINGS: list[tuple[str, str, tuple[str, ...], Any]] = [
    ("aws-prod-protected", "prod", ("protect",), False),
    ("aws-logs-are-kept", "dev", ("logs", "retentionDays"), 7),
    ("aws-eks-endpoint-private", "prod", ("endpoints", "publicFrom"), ["203.0.113.0/24"]),
    ("aws-cost-capped", "dev", ("gpu", "l40s", "instanceTypes"), ["g6e.24xlarge"]),
]
"""Rule, stack, key below inferstack:cluster.aws, and its value: what a pull request to a stack's file would say."""


@pytest.fixture
def before(machine: Machine, request: pytest.FixtureRequest) -> Stack:
    """The stack of a mutation, as it ships."""
    return shipped(machine, request.getfixturevalue("mutation").stack)


def said(stack: Stack, resources: Iterable[Resource]) -> set[str]:
    """Return the rules with something to say of a stack, of these of its resources and of it as a whole."""
    part = dataclasses.replace(stack, resources=tuple(resources))
    found: set[str] = set()
    for rule in rules().values():
        for one in apply(rule, stack if rule.of_stack else part, STRICT, TODAY):
            assert isinstance(one, Finding), f"{rule.id} rests on something unknown"
            found.add(rule.id)
    return found


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[f"{one.rule}-{one.stack}-{one.what}" for one in MUTATIONS])
def test_a_change_is_caught_by_the_rule_meant_for_it(before: Stack, mutation: Mutation) -> None:
    after = dataclasses.replace(before, resources=tuple(mutation.change(before.resources)))
    # Of what did not change nothing is said: test_what_ships_has_no_findings.
    known = set(map(id, before.resources))
    assert said(after, [one for one in after.resources if id(one) not in known]) == {mutation.rule}


@pytest.mark.parametrize(("rule", "stack", "path", "value"), SETTINGS, ids=[f"{one[0]}-{one[1]}" for one in SETTINGS])
def test_a_setting_is_caught_by_the_rule_meant_for_it(rule: str, stack: str, path: tuple[str, ...], value: Any) -> None:
    given = copy.deepcopy(settings_of(stack))
    place: Any = given["aws"]
    for key in path[:-1]:
        place = place.setdefault(key, {})
    assert place.get(path[-1]) != value
    place[path[-1]] = value
    changed = stack_of(stack, record(stack, given).recording)
    assert said(changed, changed.resources) == {rule}


def test_the_mutations_are_many_and_leave_few_rules_out() -> None:
    tried = {one.rule for one in MUTATIONS}
    assert len(MUTATIONS) >= 25
    # Each of these speaks of the same values as one above, or of tenants' own objects, which no stack ships.
    assert rules().keys() - tried == {
        "gpu-one-kind-per-container",
        "gpu-slices-one-each",
        "images-by-digest",
        "jobs-clean-up",
        "pods-drop-capabilities",
        "pods-no-host-namespaces",
        "pods-no-host-path",
        "pods-no-privilege-escalation",
        "pods-not-privileged",
        "pods-run-as-non-root",
        "pods-seccomp-profile",
        "rbac-no-anonymous",
        "secrets-not-in-config-maps",
        "secrets-not-in-environment",
    }
