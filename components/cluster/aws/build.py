"""What all parts of the place aws are given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pulumi

from components.cluster.aws.names import Names
from components.cluster.aws.settings import AwsSettings


@dataclass(frozen=True)
class Build:
    """Names, settings, and the options of each child of the component."""

    names: Names
    settings: AwsSettings
    child: pulumi.ResourceOptions
    """Parent and AWS provider."""

    @property
    def kept(self) -> pulumi.ResourceOptions:
        """Options of a child that holds what cannot be made again: protected where the stack says so."""
        return pulumi.ResourceOptions.merge(self.child, pulumi.ResourceOptions(protect=self.settings.protect))

    def after(self, *before: pulumi.Resource | Iterable[pulumi.Resource]) -> pulumi.ResourceOptions:
        """Return the options of a child that comes after these and goes before them."""
        flat = [resource for item in before for resource in ([item] if isinstance(item, pulumi.Resource) else item)]
        return pulumi.ResourceOptions.merge(self.child, pulumi.ResourceOptions(depends_on=flat))
