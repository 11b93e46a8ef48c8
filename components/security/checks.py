"""Checks of the security role against the settings of other roles, before anything is registered."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from components.security.prerequisites import (
    LEAST_MTU,
    TUNNEL_OVERHEAD,
    WIREGUARD_OVERHEAD,
    NodeFacts,
    check,
    features,
)
from components.security.settings import Cni, EncryptionMode, KubeProxy, Routing, SecuritySettings
from components.settings import PROJECT, key_path
from components.tenancy.settings import Tenant
from inferstack.errors import UserError, hint

_KEY = f"{PROJECT}:security"


def check_security(
    settings: SecuritySettings,
    tenants: Mapping[str, Tenant],
    *,
    mesh_encrypts: bool,
    mesh_strict: bool,
    today: dt.date,
) -> None:
    """Check the role's settings against the rest of the stack.

    Args:
        settings: the role's settings.
        tenants: the stack's tenants, by name.
        mesh_encrypts: whether the mesh is on and its pods use mutual TLS where possible.
        mesh_strict: whether they reject plain text.
        today: the date that decides whether an exception has expired.

    Raises:
        UserError: a setting is invalid; the message names its key.
    """
    check_exceptions(settings, today)
    if not settings.enabled:
        return
    check_reach(settings, tenants)
    check_pod_security(settings, tenants)
    check_encryption(settings, mesh_encrypts=mesh_encrypts, mesh_strict=mesh_strict)
    if settings.wireguard:
        check_cilium(settings)
    check_kernel(settings)


def check_exceptions(settings: SecuritySettings, today: dt.date) -> None:
    """Reject exceptions that have expired, so that they are reviewed, and those that expire too late.

    Raises:
        UserError: the message has the rule, resource, owner and day of each such exception.
    """
    policies = settings.policies
    latest = today + dt.timedelta(days=policies.max_exception_days)
    wrong = []
    for number, each in enumerate(policies.exceptions):
        key = key_path(_KEY, ("policies", "exceptions", number))
        if not each.holds(today):
            wrong.append(
                f"{key}: the exception of {each.owner} from {each.rule} for {each.resource} ended on {each.expires}; "
                "fix the resource and remove the key, or have its owner agree to a later day in expires."
            )
        elif each.expires > latest:
            wrong.append(
                f"{key}.expires: {each.expires} is later than the {policies.max_exception_days} days of "
                f"{_KEY}.policies.maxExceptionDays; {latest} is the latest day."
            )
    if wrong:
        raise UserError("\n".join(wrong))


def check_reach(settings: SecuritySettings, tenants: Mapping[str, Tenant]) -> None:
    """Reject tenants that are exempt from enforcement by the API server.

    Raises:
        UserError: the message has the key of the entry.
    """
    for number, name in enumerate(settings.policies.exempt_namespaces):
        if name in tenants:
            raise UserError(
                f"{key_path(_KEY, ('policies', 'exemptNamespaces', number))}: {name} is a tenant, and rules apply to "
                f"tenants; remove it, and add resources that violate a rule to {_KEY}.policies.exceptions."
            )


def check_pod_security(settings: SecuritySettings, tenants: Mapping[str, Tenant]) -> None:
    """Reject privileged tenants without a reason, and reasons without a privileged tenant.

    Raises:
        UserError: the message has the key of the tenant or of the exception.
    """
    exceptions = settings.pod_security.exceptions
    for name, tenant in tenants.items():
        if tenant.pod_security == "privileged" and name not in exceptions:
            raise UserError(
                f"{key_path(f'{PROJECT}:tenancy', ('tenants', name, 'podSecurity'))}: a privileged pod controls "
                f"its node; use baseline, or give a reason in "
                f"{key_path(_KEY, ('podSecurity', 'exceptions', name))}."
            )
    for name in exceptions:
        key = key_path(_KEY, ("podSecurity", "exceptions", name))
        if name not in tenants:
            raise UserError(f"{key}: there is no such tenant; {hint(name, tenants)}")
        if (level := tenants[name].pod_security) != "privileged":
            raise UserError(f"{key}: the tenant's podSecurity is {level}, which needs no exception; remove the key.")


def check_encryption(settings: SecuritySettings, *, mesh_encrypts: bool, mesh_strict: bool) -> None:
    """Reject plain-text traffic and double encryption unless the settings allow them explicitly.

    Raises:
        UserError: a setting is invalid; the message names its key.
    """
    encryption = settings.encryption
    key = f"{_KEY}.encryption"
    if encryption.mode is EncryptionMode.MTLS and not mesh_strict:
        raise UserError(
            f"{key}.mode: mtls requires a mesh that rejects plain text; "
            f"set {PROJECT}:mesh.enabled to true and {PROJECT}:mesh.mtls.mode to STRICT, or use wireguard."
        )
    if encryption.mode is EncryptionMode.NONE and mesh_encrypts:
        raise UserError(
            f"{key}.mode: none, but the mesh encrypts; use mtls, or set {PROJECT}:mesh.mtls.mode to DISABLE."
        )
    if encryption.mode is EncryptionMode.NONE and encryption.required:
        raise UserError(
            f"{key}.mode: none leaves traffic between nodes in plain text; use mtls or wireguard, "
            f"or set {key}.required to false."
        )
    double = encryption.mode is EncryptionMode.WIREGUARD and mesh_encrypts
    if double and encryption.allow_double is None:
        raise UserError(
            f"{key}.mode: wireguard and mutual TLS of the mesh encrypt traffic twice; use mtls, "
            f"set {PROJECT}:mesh.mtls.mode to DISABLE, or give a reason in {key}.allowDouble.reason."
        )
    if encryption.allow_double is not None and not double:
        raise UserError(f"{key}.allowDouble: this stack encrypts once (mode {encryption.mode}); remove the key.")


def check_cilium(settings: SecuritySettings) -> None:
    """Check that the settings of Cilium are consistent.

    Raises:
        UserError: a setting is invalid; the message names its key.
    """
    cilium, key = settings.cilium, f"{_KEY}.cilium"
    replaced = cilium.kube_proxy is KubeProxy.REPLACED
    if replaced and cilium.api_server is None:
        raise UserError(
            f"{key}.apiServer: is required with kubeProxy replaced: until Cilium runs no Service works, "
            "that of the API server included; give {host: ..., port: ...}."
        )
    if not replaced and cilium.api_server is not None:
        raise UserError(f"{key}.apiServer: only used with kubeProxy replaced; remove the key.")
    if cilium.cni is Cni.AWS:
        if cilium.native_cidr is not None:
            raise UserError(f"{key}.nativeCidr: with cni aws-cni the VPC routes pod addresses; remove the key.")
        if cilium.routing is Routing.NATIVE:
            raise UserError(
                f"{key}.routing: requires cni only; with aws-cni the VPC routes pod addresses; remove the key."
            )
    elif cilium.routing is Routing.NATIVE and cilium.native_cidr is None:
        raise UserError(
            f"{key}.nativeCidr: is required with routing native: the network that routes pod addresses itself."
        )
    elif cilium.routing is Routing.TUNNEL and cilium.native_cidr is not None:
        raise UserError(f"{key}.nativeCidr: only used with routing native; remove the key, or set routing.")
    if cilium.mtu is not None:
        tunnel = TUNNEL_OVERHEAD if cilium.cni is Cni.ONLY and cilium.routing is Routing.TUNNEL else 0
        left = cilium.mtu - WIREGUARD_OVERHEAD - tunnel
        if left < LEAST_MTU:
            raise UserError(
                f"{key}.mtu: of {cilium.mtu} bytes, encryption{' and tunnel leave' if tunnel else ' leaves'} pods "
                f"{left}, fewer than the {LEAST_MTU} that every link must carry; "
                f"use {cilium.mtu + LEAST_MTU - left} or more."
            )


def check_kernel(settings: SecuritySettings) -> None:
    """Check the stack's facts about its nodes against the requirements of its features.

    Raises:
        UserError: the message has the key and all unmet requirements.
    """
    nodes = settings.nodes
    facts = NodeFacts(f"{_KEY}.nodes.kernel", nodes.kernel, config=nodes.config)
    if problems := check(facts, features(settings)):
        raise UserError("\n".join(map(str, problems)))
