"""Names, tags and ARNs of a stack on AWS, derived from the settings without look-ups."""

from __future__ import annotations

from dataclasses import dataclass

from components.cluster.aws.settings import AwsSettings
from inferstack.apimachinery.labels import PART_OF, PLATFORM
from inferstack.aws.session import STACK_TAG, cluster_name

COMPONENT_TAG = "inferstack:component"
CLUSTER_TAG = "elbv2.k8s.aws/cluster"
"""Tag of all resources of the load balancer controller; its value is the cluster's name."""


@dataclass(frozen=True)
class Names:
    """Names of the AWS resources of a stack."""

    stack: str
    account: str
    region: str
    extra_tags: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, settings: AwsSettings, stack: str) -> Names:
        """Return the names of a stack with checked settings (account and region are set)."""
        if settings.account_id is None or settings.region is None:
            raise ValueError("account and region are required")
        return cls(stack, settings.account_id, settings.region, tuple(settings.tags.items()))

    @property
    def cluster(self) -> str:
        """Name of the EKS cluster and prefix of all other names."""
        return cluster_name(self.stack)

    @property
    def partition(self) -> str:
        """Partition of ARNs: aws, aws-cn or aws-us-gov."""
        return {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(self.region.rpartition("-")[0].rpartition("-")[0], "aws")

    @property
    def suffix(self) -> str:
        """DNS suffix of service principals and endpoints."""
        return "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"

    @property
    def bucket(self) -> str:
        """Name of the model bucket, with the account, as bucket names are global."""
        return f"{self.cluster}-models-{self.account}"

    @property
    def log_group(self) -> str:
        """Log group of the control plane, named by EKS."""
        return f"/aws/eks/{self.cluster}/cluster"

    @property
    def root(self) -> str:
        """ARN of the account as a principal."""
        return self.global_arn("iam", "root")

    def arn(self, service: str, rest: str) -> str:
        """Return the ARN of a resource in the stack's region and account."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{rest}"

    def global_arn(self, service: str, rest: str) -> str:
        """Return the ARN of a global resource in the stack's account."""
        return f"arn:{self.partition}:{service}::{self.account}:{rest}"

    def aws_policy(self, name: str) -> str:
        """Return the ARN of an AWS managed policy."""
        return f"arn:{self.partition}:iam::aws:policy/{name}"

    def role(self, name: str) -> str:
        """Return the name of an IAM role, with the region, as role names are global."""
        return f"{self.cluster}-{self.region}-{name}"

    def tags(self, component: str) -> dict[str, str]:
        """Return the tags of a resource; the program's own override the user's."""
        name = component if component.startswith(self.cluster) else f"{self.cluster}-{component}"
        return {**self.common_tags(), "Name": name, COMPONENT_TAG: component}

    def common_tags(self) -> dict[str, str]:
        """Return the tags of all resources."""
        return {**dict(self.extra_tags), STACK_TAG: self.stack, PART_OF: PLATFORM}
