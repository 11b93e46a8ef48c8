"""The class of persistent volumes on AWS: EKS makes none that is the default, and none that is encrypted."""

from __future__ import annotations

import pulumi

from components.objects import LABELS
from inferstack.apimachinery.objects import Object

NAME = "gp3"


def make_storage_class(key_arn: str | pulumi.Output[str]) -> Object:
    """Return the default StorageClass: gp3 volumes of the EBS CSI driver, encrypted with the stack's key.

    Parameters as the driver documents them (docs/parameters.md of kubernetes-sigs/aws-ebs-csi-driver).

    Args:
        key_arn: ARN of the KMS key, which the engine may not know before it is made.
    """
    meta = {"name": NAME, "labels": LABELS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": meta,
        "provisioner": "ebs.csi.aws.com",
        "parameters": {"type": "gp3", "encrypted": "true", "kmsKeyId": key_arn},
        "reclaimPolicy": "Delete",
        # In the zone where the pod is: a volume cannot follow it into another.
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,
    }
