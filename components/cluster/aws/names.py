"""Names, tags and ARNs of a stack on AWS. All follow from the settings: no policy needs a look-up."""

from __future__ import annotations

from dataclasses import dataclass

from components.cluster.aws.settings import AwsSettings
from inferstack.apimachinery.labels import PART_OF, PLATFORM
from inferstack.aws.session import STACK_TAG, cluster_name

COMPONENT_TAG = "inferstack:component"
CLUSTER_TAG = "elbv2.k8s.aws/cluster"
"""Tag that the load balancer controller gives to all that it makes, with the cluster's name."""


@dataclass(frozen=True)
class Names:
    """What things of one stack are called."""

    stack: str
    account: str
    region: str
    extra_tags: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, settings: AwsSettings, stack: str) -> Names:
        """Return the names of a stack whose settings were checked: account and region are there."""
        if settings.account_id is None or settings.region is None:
            raise ValueError("these settings were not checked: they name no account or no region")
        return cls(stack, settings.account_id, settings.region, tuple(settings.tags.items()))

    @property
    def cluster(self) -> str:
        """Name of the EKS cluster, and first part of all other names."""
        return cluster_name(self.stack)

    @property
    def partition(self) -> str:
        """First part of ARNs: aws, aws-cn or aws-us-gov."""
        return {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(self.region.rpartition("-")[0].rpartition("-")[0], "aws")

    @property
    def suffix(self) -> str:
        """Domain of service principals and endpoints."""
        return "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"

    @property
    def bucket(self) -> str:
        """Name of the model bucket: bucket names are shared by all accounts, so it carries ours."""
        return f"{self.cluster}-models-{self.account}"

    @property
    def log_group(self) -> str:
        """Where EKS writes the control plane's logs; the name is EKS's own."""
        return f"/aws/eks/{self.cluster}/cluster"

    @property
    def root(self) -> str:
        """ARN that stands for the whole account in a policy."""
        return self.global_arn("iam", "root")

    def arn(self, service: str, rest: str) -> str:
        """Return the ARN of something in our region and account."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{rest}"

    def global_arn(self, service: str, rest: str) -> str:
        """Return the ARN of something of our account that is in no region."""
        return f"arn:{self.partition}:{service}::{self.account}:{rest}"

    def aws_policy(self, name: str) -> str:
        """Return the ARN of a policy that AWS keeps."""
        return f"arn:{self.partition}:iam::aws:policy/{name}"

    def role(self, name: str) -> str:
        """Return the name of one of our roles; they are shared by all regions."""
        return f"{self.cluster}-{self.region}-{name}"

    def tags(self, component: str) -> dict[str, str]:
        """Return the tags of one resource: the user's first, ours cannot be overridden."""
        name = component if component.startswith(self.cluster) else f"{self.cluster}-{component}"
        return {**self.common_tags(), "Name": name, COMPONENT_TAG: component}

    def common_tags(self) -> dict[str, str]:
        """Return the tags that are the same on all resources."""
        return {**dict(self.extra_tags), STACK_TAG: self.stack, PART_OF: PLATFORM}
