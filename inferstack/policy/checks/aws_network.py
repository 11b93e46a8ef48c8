"""Checks of who reaches machines and the control plane."""

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
    """Yield how a launch template or an instance lets others read its credentials."""
    options = get(machine.properties, "metadataOptions", default={})
    if get(options, "httpEndpoint") == "disabled":
        return
    if get(options, "httpTokens") != "required":
        yield "version 1 of the metadata service answers, which a request that is forged on a server can read"
    # The service's own default for what no template names: EC2 User Guide, "Configure the instance metadata options".
    hops = get(options, "httpPutResponseHopLimit", default=1)
    if hops > config["hops"]:
        yield f"answers of the metadata service travel {hops} hops, into pods"


def not_open_to_everyone(resource: Resource, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield which ways into a security group are open to the whole internet."""
    properties = resource.properties
    if resource.type == INGRESS:
        ways = [(properties, [get(properties, "cidrIpv4"), get(properties, "cidrIpv6")])]
    elif resource.type == RULE:
        ways = [(properties, _networks(properties))] if get(properties, "type") == "ingress" else []
    else:
        ways = [(rule, _networks(rule)) for rule in get(properties, "ingress", default=())]
    for way, networks in ways:
        if not any(_everyone(network) for network in networks):
            continue
        first, last = get(way, "fromPort", default=0), get(way, "toPort", default=65535)
        if first != last or first not in config["ports"]:
            yield f"everyone may reach {f'port {first}' if first == last else f'ports {first} to {last}'}"


def endpoint_is_private(cluster: Resource, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield how a control plane can be reached by whom nobody named."""
    access = get(cluster.properties, "vpcConfig", default={})
    if get(access, "endpointPrivateAccess") is not True:
        yield "nodes reach it over the internet: it has no private address"
    # EKS gives it a public address that answers everyone where nothing is said.
    if get(access, "endpointPublicAccess", default=True) is False:
        return
    networks = get(access, "publicAccessCidrs", default=("0.0.0.0/0",))
    if stack_of(cluster) in config["privateOnly"]:
        yield "it has a public address, which no stack of this kind may have"
    elif not networks or any(_everyone(network) for network in networks):
        yield "its public address answers everyone"


def audited(cluster: Resource, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield which logs of a control plane are not written."""
    types = get(cluster.properties, "enabledClusterLogTypes", default=())
    if lacking := [kind for kind in config["types"] if kind not in types]:
        yield f"it writes no {' and no '.join(lacking)} log"


def secrets_encrypted(cluster: Resource, _: Mapping[str, Any]) -> Iterator[str]:
    """Yield whether Secrets lie in etcd without a key of the account's own around them."""
    encryption = get(cluster.properties, "encryptionConfig", default={})
    if "secrets" not in get(encryption, "resources", default=()) or not given(encryption, "provider", "keyArn"):
        yield "Secrets are not encrypted with a key of yours"


def logs_kept(group: Resource, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield whether a log group forgets too early, or never."""
    days = get(group.properties, "retentionInDays", default=0)
    least = config["daysOfStacks"].get(stack_of(group), config["days"])
    if not days:
        yield "it keeps logs for ever, and is paid for as long"
    elif days < least:
        yield f"it keeps logs for {days:g} days, less than {least}"
    if not given(group.properties, "kmsKeyId"):
        yield "it is not encrypted with a key of yours"


def _networks(rule: Mapping[str, Any]) -> list[Any]:
    return [*get(rule, "cidrBlocks", default=()), *get(rule, "ipv6CidrBlocks", default=())]


def _everyone(network: Any) -> bool:
    return network is not None and ipaddress.ip_network(network, strict=False).prefixlen == 0
