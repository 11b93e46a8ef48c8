"""The recorded graph made through boto3, in the order of registration, and taken down again in reverse.

boto3 checks each call against AWS's own service model: names and types of all parameters. Behind it is moto, which
plays AWS in this process. What moto does not know is checked against the service model alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import boto3

    from tests.program.conftest import Registered

Inputs = dict[str, Any]
Made = tuple[str, Callable[[], object]]
"""The real id, and how to take it down."""

# Words that EC2 spells in its own way.
_SPELT = {"kmsKeyId": "KmsKeyId", "securityGroups": "Groups", "vpcSecurityGroupIds": "SecurityGroupIds"}


def pascal(value: Any) -> Any:
    """Return inputs as EC2 writes them: Pascal case, numbers whole, flags as such."""
    if isinstance(value, dict):
        return {_SPELT.get(key, key[0].upper() + key[1:]): pascal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [pascal(item) for item in value]
    if isinstance(value, float):
        return int(value)
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def camel(value: Any) -> Any:
    """Return inputs as EKS writes them: as they are, with whole numbers."""
    if isinstance(value, dict):
        return {key: camel(item) for key, item in value.items()}
    if isinstance(value, list):
        return [camel(item) for item in value]
    return int(value) if isinstance(value, float) else value


def pairs(tags: Inputs) -> list[Inputs]:
    """Return tags as most services take them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _addon(inputs: Inputs) -> Inputs:
    names = {"resolveConflictsOnCreate": "resolveConflicts"}
    return {names.get(key, key): value for key, value in inputs.items() if key != "resolveConflictsOnUpdate"}


def _template(inputs: Inputs) -> Inputs:
    (encryption,) = inputs["encryptionConfigurations"]
    names = {"appliedFors": "appliedFor", "encryptionConfigurations": "encryptionConfiguration"}
    given = {names.get(key, key): value for key, value in inputs.items()}
    return {**given, "encryptionConfiguration": encryption, "resourceTags": pairs(inputs["resourceTags"])}


def _placement(inputs: Inputs) -> Inputs:
    tags = [{"ResourceType": "placement-group", "Tags": pairs(inputs["tags"])}]
    return {"GroupName": inputs["name"], "Strategy": inputs["strategy"], "TagSpecifications": tags}


NOT_ANSWERED: dict[str, tuple[str, str, Callable[[Inputs], Inputs]]] = {
    "AccessEntry": ("eks", "CreateAccessEntry", camel),
    "AccessPolicyAssociation": ("eks", "AssociateAccessPolicy", camel),
    "Addon": ("eks", "CreateAddon", _addon),
    "PodIdentityAssociation": ("eks", "CreatePodIdentityAssociation", camel),
    "PullThroughCacheRule": ("ecr", "CreatePullThroughCacheRule", camel),
    "RepositoryCreationTemplate": ("ecr", "CreateRepositoryCreationTemplate", _template),
    "PlacementGroup": ("ec2", "CreatePlacementGroup", _placement),
}
"""Kinds that moto does not know: service, operation, and how inputs become its parameters."""


class Replay:
    """Makes resources one by one, and knows what became of each."""

    def __init__(self, session: boto3.Session) -> None:
        """Begin with nothing."""
        self.session = session
        self.real: dict[str, str] = {}
        """Real id or ARN by the recorded one."""
        self.created: list[tuple[str, Callable[[], object]]] = []
        self._clients: dict[str, Any] = {}
        self.ec2 = self.client("ec2")

    def client(self, service: str) -> Any:
        """Return the one client of a service: they are slow to make."""
        if service not in self._clients:
            self._clients[service] = self.session.client(service)  # type: ignore[call-overload]
        return self._clients[service]

    def run(self, resources: list[Registered]) -> None:
        """Make all resources that moto answers for."""
        for resource in resources:
            kind = resource.type.rpartition(":")[2]
            if kind not in NOT_ANSWERED:
                real, undo = getattr(self, f"make_{kind}")(self.translated(resource.inputs))
                self.real[f"{kind}-{resource.name}-id"] = real
                self.created.append((resource.urn, undo))

    def undo(self) -> None:
        """Take everything down, the last first."""
        while self.created:
            self.created.pop()[1]()

    def translated(self, inputs: Inputs) -> Inputs:
        """Return inputs with real ids in place of recorded ones, inside policies too."""
        text = json.dumps(inputs)
        # The longest first: one id may begin like another.
        for recorded in sorted(self.real, key=len, reverse=True):
            text = text.replace(recorded, self.real[recorded])
        result: Inputs = json.loads(text)
        return result

    def tags(self, kind: str, inputs: Inputs) -> list[Inputs]:
        """Return tags as EC2 takes them."""
        return [{"ResourceType": kind, "Tags": pairs(inputs["tags"])}]

    # EC2

    def make_Vpc(self, inputs: Inputs) -> Made:  # noqa: N802
        """Make a VPC."""
        vpc = self.ec2.create_vpc(CidrBlock=inputs["cidrBlock"], TagSpecifications=self.tags("vpc", inputs))["Vpc"][
            "VpcId"
        ]
        self.ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": inputs["enableDnsHostnames"]})
        self.ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsSupport={"Value": inputs["enableDnsSupport"]})
        return vpc, lambda: self.ec2.delete_vpc(VpcId=vpc)

    def make_DefaultSecurityGroup(self, inputs: Inputs) -> Made:  # noqa: N802
        """Take all rules off the VPC's default group."""
        filters = [{"Name": "vpc-id", "Values": [inputs["vpcId"]]}, {"Name": "group-name", "Values": ["default"]}]
        (group,) = self.ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
        name = group["GroupId"]
        if group["IpPermissions"]:
            self.ec2.revoke_security_group_ingress(GroupId=name, IpPermissions=group["IpPermissions"])
        if group["IpPermissionsEgress"]:
            self.ec2.revoke_security_group_egress(GroupId=name, IpPermissions=group["IpPermissionsEgress"])
        return name, lambda: None

    def make_Subnet(self, inputs: Inputs) -> Made:  # noqa: N802
        """Make a subnet."""
        subnet = self.ec2.create_subnet(
            VpcId=inputs["vpcId"],
            CidrBlock=inputs["cidrBlock"],
            AvailabilityZone=inputs["availabilityZone"],
            TagSpecifications=self.tags("subnet", inputs),
        )["Subnet"]["SubnetId"]
        public = {"Value": inputs["mapPublicIpOnLaunch"]}
        self.ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch=public)
        return subnet, lambda: self.ec2.delete_subnet(SubnetId=subnet)

    def make_InternetGateway(self, inputs: Inputs) -> Made:  # noqa: N802
        """Make an internet gateway and attach it."""
        tags = self.tags("internet-gateway", inputs)
        gateway = self.ec2.create_internet_gateway(TagSpecifications=tags)["InternetGateway"]["InternetGatewayId"]
        place = {"InternetGatewayId": gateway, "VpcId": inputs["vpcId"]}
        self.ec2.attach_internet_gateway(**place)

        def undo() -> None:
            self.ec2.detach_internet_gateway(**place)
            self.ec2.delete_internet_gateway(InternetGatewayId=gateway)

        return gateway, undo

    def make_Eip(self, inputs: Inputs) -> Made:  # noqa: N802
        """Allocate an address."""
        tags = self.tags("elastic-ip", inputs)
        address = self.ec2.allocate_address(Domain=inputs["domain"], TagSpecifications=tags)["AllocationId"]
        return address, lambda: self.ec2.release_address(AllocationId=address)

    def make_NatGateway(self, inputs: Inputs) -> Made:  # noqa: N802
        """Make a NAT gateway."""
        gateway = self.ec2.create_nat_gateway(
            SubnetId=inputs["subnetId"],
            AllocationId=inputs["allocationId"],
            ConnectivityType=inputs["connectivityType"],
            TagSpecifications=self.tags("natgateway", inputs),
        )["NatGateway"]["NatGatewayId"]
        return gateway, lambda: self.ec2.delete_nat_gateway(NatGatewayId=gateway)

    def make_RouteTable(self, inputs: Inputs) -> Made:  # noqa: N802
        """Make a route table."""
        tags = self.tags("route-table", inputs)
        table = self.ec2.create_route_table(VpcId=inputs["vpcId"], TagSpecifications=tags)["RouteTable"]["RouteTableId"]
        return table, lambda: self.ec2.delete_route_table(RouteTableId=table)

    def make_Route(self, inputs: Inputs) -> Made:  # noqa: N802
        """Make a route."""
        route = pascal(inputs)
        self.ec2.create_route(**route)
        key = {key: route[key] for key in ("RouteTableId", "DestinationCidrBlock")}
        return route["RouteTableId"], lambda: self.ec2.delete_route(**key)

    def make_RouteTableAssociation(self, inputs: Inputs) -> Made:  # noqa: N802
        """Bind a subnet to its route table."""
        bound = self.ec2.associate_route_table(**pascal(inputs))["AssociationId"]
        return bound, lambda: self.ec2.disassociate_route_table(AssociationId=bound)

    def make_VpcEndpoint(self, inputs: Inputs) -> Made:  # noqa: N802
        """Make an endpoint."""
        given = pascal({key: value for key, value in inputs.items() if key != "tags"})
        endpoint = self.ec2.create_vpc_endpoint(**given, TagSpecifications=self.tags("vpc-endpoint", inputs))
        name = endpoint["VpcEndpoint"]["VpcEndpointId"]
        return name, lambda: self.ec2.delete_vpc_endpoints(VpcEndpointIds=[name])

    def make_SecurityGroup(self, inputs: Inputs) -> Made:  # noqa: N802
        """Make a security group without rules: as the provider does, take off the one that AWS gives it."""
        group = self.ec2.create_security_group(
            GroupName=inputs["name"],
            Description=inputs["description"],
            VpcId=inputs["vpcId"],
            TagSpecifications=self.tags("security-group", inputs),
        )["GroupId"]
        (result,) = self.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
        self.ec2.revoke_security_group_egress(GroupId=group, IpPermissions=result["IpPermissionsEgress"])
        return group, lambda: self.ec2.delete_security_group(GroupId=group)

    def _rule(self, inputs: Inputs) -> Inputs:
        rule: Inputs = {"IpProtocol": inputs["ipProtocol"]}
        if "fromPort" in inputs:
            rule |= {"FromPort": int(inputs["fromPort"]), "ToPort": int(inputs["toPort"])}
        if "referencedSecurityGroupId" in inputs:
            rule["UserIdGroupPairs"] = [{"GroupId": inputs["referencedSecurityGroupId"]}]
        else:
            rule["IpRanges"] = [{"CidrIp": inputs["cidrIpv4"], "Description": inputs["description"]}]
        return {"GroupId": inputs["securityGroupId"], "IpPermissions": [rule]}

    def make_SecurityGroupIngressRule(self, inputs: Inputs) -> Made:  # noqa: N802
        """Let somebody in."""
        rule, tags = self._rule(inputs), self.tags("security-group-rule", inputs)
        rules = self.ec2.authorize_security_group_ingress(**rule, TagSpecifications=tags)["SecurityGroupRules"][0]
        return rules["SecurityGroupRuleId"], lambda: self.ec2.revoke_security_group_ingress(**rule)

    def make_SecurityGroupEgressRule(self, inputs: Inputs) -> Made:  # noqa: N802
        """Let somebody out."""
        rule, tags = self._rule(inputs), self.tags("security-group-rule", inputs)
        rules = self.ec2.authorize_security_group_egress(**rule, TagSpecifications=tags)["SecurityGroupRules"][0]
        return rules["SecurityGroupRuleId"], lambda: self.ec2.revoke_security_group_egress(**rule)

    def make_LaunchTemplate(self, inputs: Inputs) -> Made:  # noqa: N802
        """Make a launch template."""
        data = dict(inputs)
        name, description, tags = data.pop("name"), data.pop("description"), data.pop("tags")
        data.pop("updateDefaultVersion")
        for spec in data["tagSpecifications"]:
            spec["tags"] = [{"key": key, "value": value} for key, value in spec["tags"].items()]
        content = pascal(data)
        for interface in content.get("NetworkInterfaces", []):
            interface["Groups"] = list(interface["Groups"])
        template = self.ec2.create_launch_template(
            LaunchTemplateName=name,
            VersionDescription=description,
            LaunchTemplateData=content,
            TagSpecifications=self.tags("launch-template", {"tags": tags}),
        )["LaunchTemplate"]["LaunchTemplateId"]
        return template, lambda: self.ec2.delete_launch_template(LaunchTemplateId=template)

    # EKS and logs

    def make_Cluster(self, inputs: Inputs) -> Made:  # noqa: N802
        """Make a cluster."""
        eks = self.client("eks")
        given = camel(inputs)
        config = given.pop("vpcConfig")
        types = given.pop("enabledClusterLogTypes")
        encryption = given.pop("encryptionConfig")
        cluster = eks.create_cluster(
            **given,
            resourcesVpcConfig=config,
            encryptionConfig=[encryption],
            logging={"clusterLogging": [{"types": types, "enabled": True}]},
        )["cluster"]
        # EKS gives the cluster a group of its own, moto none: one of ours stands for it.
        (efa,) = [real for recorded, real in self.real.items() if recorded == "SecurityGroup-efa-id"]
        self.real["sg-of-the-cluster"] = cluster["resourcesVpcConfig"].get("clusterSecurityGroupId") or efa
        return cluster["name"], lambda: eks.delete_cluster(name=cluster["name"])

    def make_NodeGroup(self, inputs: Inputs) -> Made:  # noqa: N802
        """Make a node group."""
        eks = self.client("eks")
        given = camel(inputs)
        names = {"nodeGroupName": "nodegroupName", "nodeRoleArn": "nodeRole", "subnetIds": "subnets"}
        group = eks.create_nodegroup(**{names.get(key, key): value for key, value in given.items()})["nodegroup"]
        key = {"clusterName": group["clusterName"], "nodegroupName": group["nodegroupName"]}
        return group["nodegroupName"], lambda: eks.delete_nodegroup(**key)

    def make_LogGroup(self, inputs: Inputs) -> Made:  # noqa: N802
        """Make a log group."""
        logs, name = self.client("logs"), inputs["name"]
        logs.create_log_group(logGroupName=name, kmsKeyId=inputs["kmsKeyId"], tags=inputs["tags"])
        logs.put_retention_policy(logGroupName=name, retentionInDays=int(inputs["retentionInDays"]))
        return name, lambda: logs.delete_log_group(logGroupName=name)

    # IAM

    def make_Role(self, inputs: Inputs) -> Made:  # noqa: N802
        """Make a role."""
        iam, name = self.client("iam"), inputs["name"]
        role = iam.create_role(
            RoleName=name, AssumeRolePolicyDocument=inputs["assumeRolePolicy"], Tags=pairs(inputs["tags"])
        )["Role"]
        self.real[f"arn:aws:iam::123456789012:role/{name}"] = role["Arn"]
        return name, lambda: iam.delete_role(RoleName=name)

    def make_RolePolicy(self, inputs: Inputs) -> Made:  # noqa: N802
        """Put a policy into a role."""
        iam, key = self.client("iam"), {"RoleName": inputs["role"], "PolicyName": inputs["name"]}
        iam.put_role_policy(**key, PolicyDocument=inputs["policy"])
        return inputs["name"], lambda: iam.delete_role_policy(**key)

    def make_RolePolicyAttachment(self, inputs: Inputs) -> Made:  # noqa: N802
        """Attach one of AWS's policies."""
        iam, key = self.client("iam"), {"RoleName": inputs["role"], "PolicyArn": inputs["policyArn"]}
        iam.attach_role_policy(**key)
        return inputs["policyArn"], lambda: iam.detach_role_policy(**key)

    def make_OpenIdConnectProvider(self, inputs: Inputs) -> Made:  # noqa: N802
        """Make an OIDC provider."""
        iam = self.client("iam")
        provider = iam.create_open_id_connect_provider(
            Url=inputs["url"], ClientIDList=inputs["clientIdLists"], Tags=pairs(inputs["tags"])
        )["OpenIDConnectProviderArn"]
        return provider, lambda: iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=provider)

    # KMS

    def make_Key(self, inputs: Inputs) -> Made:  # noqa: N802
        """Make a key that rotates."""
        kms = self.client("kms")
        tags = [{"TagKey": key, "TagValue": value} for key, value in inputs["tags"].items()]
        key_metadata = kms.create_key(Description=inputs["description"], Policy=inputs["policy"], Tags=tags)[
            "KeyMetadata"
        ]
        key, days = key_metadata["KeyId"], int(inputs["deletionWindowInDays"])
        kms.enable_key_rotation(KeyId=key, RotationPeriodInDays=int(inputs["rotationPeriodInDays"]))
        return key, lambda: kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=days)

    def make_Alias(self, inputs: Inputs) -> Made:  # noqa: N802
        """Name a key."""
        kms, name = self.client("kms"), inputs["name"]
        kms.create_alias(AliasName=name, TargetKeyId=inputs["targetKeyId"])
        return name, lambda: kms.delete_alias(AliasName=name)

    # S3

    def make_Bucket(self, inputs: Inputs) -> Made:  # noqa: N802
        """Make a bucket."""
        s3, name = self.client("s3"), inputs["bucket"]
        place: Any = {"LocationConstraint": self.session.region_name}
        if self.session.region_name == "us-east-1":
            s3.create_bucket(Bucket=name)
        else:
            s3.create_bucket(Bucket=name, CreateBucketConfiguration=place)
        s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": pairs(inputs["tags"])})
        return name, lambda: s3.delete_bucket(Bucket=name)

    def make_BucketPublicAccessBlock(self, inputs: Inputs) -> Made:  # noqa: N802
        """Close a bucket."""
        s3, given = self.client("s3"), pascal(inputs)
        bucket = given.pop("Bucket")
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=given)
        return bucket, lambda: s3.delete_public_access_block(Bucket=bucket)

    def make_BucketOwnershipControls(self, inputs: Inputs) -> Made:  # noqa: N802
        """Say whose the objects are."""
        s3, bucket = self.client("s3"), inputs["bucket"]
        s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": [pascal(inputs["rule"])]})
        return bucket, lambda: s3.delete_bucket_ownership_controls(Bucket=bucket)

    def make_BucketVersioning(self, inputs: Inputs) -> Made:  # noqa: N802
        """Keep old versions."""
        s3, bucket = self.client("s3"), inputs["bucket"]
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=pascal(inputs["versioningConfiguration"]))
        return bucket, lambda: None

    def make_BucketServerSideEncryptionConfiguration(self, inputs: Inputs) -> Made:  # noqa: N802
        """Encrypt a bucket."""
        s3, bucket = self.client("s3"), inputs["bucket"]
        (rule,) = inputs["rules"]
        default = rule["applyServerSideEncryptionByDefault"]
        encryption: Any = {
            "ApplyServerSideEncryptionByDefault": {
                "SSEAlgorithm": default["sseAlgorithm"],
                "KMSMasterKeyID": default["kmsMasterKeyId"],
            },
            "BucketKeyEnabled": rule["bucketKeyEnabled"],
        }
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [encryption]})
        return bucket, lambda: s3.delete_bucket_encryption(Bucket=bucket)

    def make_BucketPolicy(self, inputs: Inputs) -> Made:  # noqa: N802
        """Put a bucket's policy."""
        s3, bucket = self.client("s3"), inputs["bucket"]
        s3.put_bucket_policy(Bucket=bucket, Policy=inputs["policy"])
        return bucket, lambda: s3.delete_bucket_policy(Bucket=bucket)

    def make_BucketLifecycleConfiguration(self, inputs: Inputs) -> Made:  # noqa: N802
        """Let old versions go."""
        s3, bucket = self.client("s3"), inputs["bucket"]
        rules = [{"ID": rule.pop("Id"), **rule} for rule in pascal(inputs["rules"])]
        s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
        return bucket, lambda: s3.delete_bucket_lifecycle(Bucket=bucket)
