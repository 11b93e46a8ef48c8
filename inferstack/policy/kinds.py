"""The Kubernetes kinds that rules may name, and the CEL variables that they share."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """API group, version and resource of a kind."""

    group: str
    version: str
    resource: str
    """Plural name, as in API paths."""


KINDS: dict[str, Kind] = {
    "Pod": Kind("", "v1", "pods"),
    "Namespace": Kind("", "v1", "namespaces"),
    "Service": Kind("", "v1", "services"),
    "ServiceAccount": Kind("", "v1", "serviceaccounts"),
    "ConfigMap": Kind("", "v1", "configmaps"),
    "Secret": Kind("", "v1", "secrets"),
    "ResourceQuota": Kind("", "v1", "resourcequotas"),
    "LimitRange": Kind("", "v1", "limitranges"),
    "Deployment": Kind("apps", "v1", "deployments"),
    "StatefulSet": Kind("apps", "v1", "statefulsets"),
    "DaemonSet": Kind("apps", "v1", "daemonsets"),
    "Job": Kind("batch", "v1", "jobs"),
    "CronJob": Kind("batch", "v1", "cronjobs"),
    "HorizontalPodAutoscaler": Kind("autoscaling", "v2", "horizontalpodautoscalers"),
    "PodDisruptionBudget": Kind("policy", "v1", "poddisruptionbudgets"),
    "NetworkPolicy": Kind("networking.k8s.io", "v1", "networkpolicies"),
    "Role": Kind("rbac.authorization.k8s.io", "v1", "roles"),
    "ClusterRole": Kind("rbac.authorization.k8s.io", "v1", "clusterroles"),
    "RoleBinding": Kind("rbac.authorization.k8s.io", "v1", "rolebindings"),
    "ClusterRoleBinding": Kind("rbac.authorization.k8s.io", "v1", "clusterrolebindings"),
    "StorageClass": Kind("storage.k8s.io", "v1", "storageclasses"),
    "InferenceJob": Kind("deepseek.ai", "v1", "inferencejobs"),
    "ClusterPolicy": Kind("nvidia.com", "v1", "clusterpolicies"),
    "SriovNetworkNodePolicy": Kind("sriovnetwork.openshift.io", "v1", "sriovnetworknodepolicies"),
    "SriovNetwork": Kind("sriovnetwork.openshift.io", "v1", "sriovnetworks"),
    "PeerAuthentication": Kind("security.istio.io", "v1", "peerauthentications"),
    "DestinationRule": Kind("networking.istio.io", "v1", "destinationrules"),
    "VirtualService": Kind("networking.istio.io", "v1", "virtualservices"),
    "ScaledObject": Kind("keda.sh", "v1alpha1", "scaledobjects"),
    "Dataset": Kind("data.fluid.io", "v1alpha1", "datasets"),
    "AlluxioRuntime": Kind("data.fluid.io", "v1alpha1", "alluxioruntimes"),
}

WORKLOADS = ("Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")
"""Kinds with a pod template; a rule names all of them as ``workloads``."""

VARIABLES: dict[str, str] = {
    "template": (
        "object.kind == 'Pod' ? object : "
        "(object.kind == 'CronJob' ? object.spec.jobTemplate.spec.template : object.spec.template)"
    ),
    "pod": "variables.template.spec",
    "containers": (
        "variables.pod.containers + (has(variables.pod.initContainers) ? variables.pod.initContainers : [])"
    ),
    "labels": "has(object.metadata.labels) ? object.metadata.labels : {}",
    "annotations": "has(object.metadata.annotations) ? object.metadata.annotations : {}",
    "objectNamespace": "has(object.metadata.namespace) ? object.metadata.namespace : ''",
    "podLabels": (
        "has(variables.template.metadata) && has(variables.template.metadata.labels) ? "
        "variables.template.metadata.labels : {}"
    ),
    "podAnnotations": (
        "has(variables.template.metadata) && has(variables.template.metadata.annotations) ? "
        "variables.template.metadata.annotations : {}"
    ),
}
"""CEL expressions that every rule may use as ``variables.<name>``, in the policy pack and in the API server."""
