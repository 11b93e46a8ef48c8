"""Checks of network access to machines and the control plane, and of logs."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from inferstack.policy.checks.common import given, stack_of
from inferstack.policy.resource import Resource, get

INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
RULE = "aws:ec2/securityGroupRule:SecurityGroupRule"
INSTANCE = "aws:ec2/instance:Instance"


def metadata_needs_a_session(machine: Resource, config: Mapping[str, Any]) -> Iterator[str]:
    """Check the metadata options of a launch template or an instance."""
    options = get(machine.properties, "metadataOptions", default={})
    if get(options, "httpEndpoint") == "disabled":
        return
    if get(options, "httpTokens") != "required":
        yield "IMDSv1 is enabled"
    # The default of EC2: User Guide, "Configure the instance metadata options".
    hops = get(options, "httpPutResponseHopLimit", default=1)
    if hops > config["hops"]:
        yield f"hop limit {hops}: pods can reach the metadata service"


def not_open_to_everyone(resource: Resource, config: Mapping[str, Any]) -> Iterator[str]:
    """Check that no ingress rule is open to the whole internet."""
    properties = resource.properties
    if resource.type == INGRESS:
        rules = [(properties, [get(properties, "cidrIpv4"), get(properties, "cidrIpv6")])]
    elif resource.type == RULE:
        rules = [(properties, _networks(properties))] if get(properties, "type") == "ingress" else []
    else:
        rules = [(rule, _networks(rule)) for rule in get(properties, "ingress", default=())]
    for rule, networks in rules:
        if not any(_is_internet(network) for network in networks):
            continue
        first, last = get(rule, "fromPort", default=0), get(rule, "toPort", default=65535)
        if first != last or first not in config["ports"]:
            yield f"{f'port {first}' if first == last else f'ports {first} to {last}'} open to the internet"


def endpoint_is_private(cluster: Resource, config: Mapping[str, Any]) -> Iterator[str]:
    """Check that the API server is private or restricted to named networks."""
    access = get(cluster.properties, "vpcConfig", default={})
    if get(access, "endpointPrivateAccess") is not True:
        yield "no private endpoint: nodes connect over the internet"
    # The default of EKS is a public endpoint for all networks.
    if get(access, "endpointPublicAccess", default=True) is False:
        return
    networks = get(access, "publicAccessCidrs", default=("0.0.0.0/0",))
    if stack_of(cluster) in config["privateOnly"]:
        yield "public endpoint, which this stack must not have"
    elif not networks or any(_is_internet(network) for network in networks):
        yield "public endpoint open to the internet"


def audited(cluster: Resource, config: Mapping[str, Any]) -> Iterator[str]:
    """Check that the required control plane logs are enabled."""
    types = get(cluster.properties, "enabledClusterLogTypes", default=())
    if missing := [kind for kind in config["types"] if kind not in types]:
        yield f"log types not enabled: {', '.join(missing)}"


def secrets_encrypted(cluster: Resource, _: Mapping[str, Any]) -> Iterator[str]:
    """Check that Secrets are encrypted with a customer managed key."""
    encryption = get(cluster.properties, "encryptionConfig", default={})
    if "secrets" not in get(encryption, "resources", default=()) or not given(encryption, "provider", "keyArn"):
        yield "Secrets are not encrypted with a customer managed key"


def logs_kept(group: Resource, config: Mapping[str, Any]) -> Iterator[str]:
    """Check the retention and encryption of a log group."""
    days = get(group.properties, "retentionInDays", default=0)
    minimum = config["daysOfStacks"].get(stack_of(group), config["days"])
    if not days:
        yield "no retention: logs are kept, and paid for, indefinitely"
    elif days < minimum:
        yield f"retention of {days:g} days, minimum {minimum}"
    if not given(group.properties, "kmsKeyId"):
        yield "not encrypted with a customer managed key"


def _networks(rule: Mapping[str, Any]) -> list[Any]:
    return [*get(rule, "cidrBlocks", default=()), *get(rule, "ipv6CidrBlocks", default=())]


def _is_internet(network: Any) -> bool:
    return network is not None and ipaddress.ip_network(network, strict=False).prefixlen == 0
