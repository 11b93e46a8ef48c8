"""Changes of the stacks that ship, and the rule that is meant for each."""

from __future__ import annotations

from tests.program.mutating import Mutation, added, bared, container, edited, gone, pod_of, policy, release, run_once

JOB = "nlp-model-001"
MODELS = "models"
ENCRYPTION = "BucketServerSideEncryptionConfiguration"
TO_CANARY = [{"destination": {"host": JOB, "subset": "canary"}, "weight": 100}]
GPU_LIMITS = ("spec", "resources", "limits")
TWO_SLICES, TWO_KINDS = (
    {"requests": {"cpu": "2", "memory": "8Gi", **gpus}, "limits": {"memory": "8Gi", **gpus}}
    for gpus in ({"nvidia.com/mig-1g.5gb": "2"}, {"nvidia.com/mig-1g.5gb": "1", "nvidia.com/gpu": "1"})
)
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
            edited("BucketPolicy", MODELS, "policy", to=policy(lambda result: result.pop(0))),
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
            edited("RolePolicy", "node", "policy", to=policy(lambda result: result[0].update(Action="ecr:*"))),
        ),
        (
            "aws-iam-no-wildcards",
            "prod",
            "no condition",
            edited(
                "RolePolicy",
                "autoscaler",
                "policy",
                to=policy(lambda result: result[1].update(Resource="*", Condition={})),
            ),
        ),
        (
            "aws-roles-name-whom-they-trust",
            "prod",
            "any pod",
            edited("Role", "balancers", "assumeRolePolicy", to=policy(lambda result: result[0].pop("Condition"))),
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
            edited(
                "Deployment", JOB, "spec", "template", "spec", "resourceClaims", to=[{"name": "gpu"}], by_operator=True
            ),
        ),
        (
            "gpu-requests-equal-limits",
            "local",
            "two of them",
            container(JOB, "resources", "requests", "nvidia.com/gpu", to="2", by_operator=True),
        ),
        (
            "gpu-no-visible-devices-override",
            "local",
            "all GPUs",
            container(JOB, "env", to=[{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}], by_operator=True),
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
            edited("Service", JOB, "spec", "type", to="LoadBalancer", by_operator=True),
        ),
        (
            "services-no-external-ips",
            "local",
            "an address",
            edited("Service", JOB, "spec", "externalIPs", to=["203.0.113.7"], by_operator=True),
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
                by_operator=True,
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
        ("replicas-have-budgets", "local", "no budget", gone("PodDisruptionBudget", JOB, by_operator=True)),
        (
            "replicas-are-spread",
            "local",
            "anywhere",
            edited(
                "Deployment", JOB, "spec", "template", "spec", "topologySpreadConstraints", drop=True, by_operator=True
            ),
        ),
        (
            "disruption-budgets-let-nodes-drain",
            "existing",
            "none may go",
            edited("PodDisruptionBudget", "inferstack-operator", "spec", to={"maxUnavailable": 0, "selector": {}}),
        ),
        ("servers-have-probes", "local", "no probe", container(JOB, "readinessProbe", drop=True, by_operator=True)),
        (
            "autoscalers-are-bounded",
            "local",
            "thousand",
            edited("HorizontalPodAutoscaler", JOB, "spec", "maxReplicas", to=1000, by_operator=True),
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
            container(JOB, "resources", "limits", "memory", drop=True, by_operator=True),
        ),
        (
            "runtime-classes-known",
            "local",
            "unknown",
            edited("Deployment", JOB, "spec", "template", "spec", "runtimeClassName", to="fast", by_operator=True),
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
            container(JOB, "image", to="ghcr.io/example/server:latest", by_operator=True),
        ),
        (
            "job-images-by-digest",
            "local",
            "a tag",
            edited("InferenceJob", JOB, "spec", "image", to="ghcr.io/example/server:1"),
        ),
        (
            "images-by-digest",
            "local",
            "nobody's",
            edited("Deployment", JOB, "metadata", "ownerReferences", drop=True, by_operator=True),
        ),
        # Pods, which the operator makes.
        ("jobs-clean-up", "local", "a Job that stays", run_once),
        (
            "pods-not-privileged",
            "prod",
            "the operator",
            container("inferstack-operator", "securityContext", "privileged", to=True),
        ),
        (
            "pods-no-host-namespaces",
            "prod",
            "the host's network",
            pod_of("inferstack-operator", "hostNetwork", to=True),
        ),
        (
            "pods-no-host-path",
            "local",
            "a folder of the node",
            pod_of(JOB, "volumes", to=[{"name": "models", "hostPath": {"path": "/mnt"}}], by_operator=True),
        ),
        (
            "pods-no-privilege-escalation",
            "local",
            "may gain",
            container(JOB, "securityContext", "allowPrivilegeEscalation", to=True, by_operator=True),
        ),
        (
            "pods-drop-capabilities",
            "local",
            "keeps all",
            container(JOB, "securityContext", "capabilities", drop=True, by_operator=True),
        ),
        ("pods-run-as-non-root", "local", "root", pod_of(JOB, "securityContext", "runAsUser", to=0, by_operator=True)),
        (
            "pods-seccomp-profile",
            "local",
            "none",
            pod_of(JOB, "securityContext", "seccompProfile", drop=True, by_operator=True),
        ),
        (
            "secrets-not-in-environment",
            "local",
            "in clear",
            container(JOB, "env", to=[{"name": "HF_TOKEN", "value": "in clear"}], by_operator=True),
        ),
        (
            "secrets-not-in-config-maps",
            "existing",
            "a key of AWS",
            edited("ConfigMap", "inferstack-mig-parted", "data", "key", to="AKIA" + "A" * 16),
        ),
        (
            "rbac-no-anonymous",
            "existing",
            "anybody",
            edited("ClusterRoleBinding", "inferstack-operator", "subjects", 0, "name", to="system:anonymous"),
        ),
        ("gpu-slices-one-each", "local", "two slices", container(JOB, "resources", to=TWO_SLICES, by_operator=True)),
        (
            "gpu-one-kind-per-container",
            "local",
            "two kinds",
            container(JOB, "resources", to=TWO_KINDS, by_operator=True),
        ),
    )
]
