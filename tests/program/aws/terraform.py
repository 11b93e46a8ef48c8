"""The recorded graph as Terraform's JSON: Pulumi's AWS provider is made of Terraform's, which checks values too.

Names follow a rule (camel case to snake case, lists lose their plural), and the schema says where it holds.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.program.aws_outputs import identity

if TYPE_CHECKING:
    from tests.program.aws.conftest import Graph

TYPES = {
    "aws:s3/bucket:Bucket": "aws_s3_bucket",
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": "aws_eks_pod_identity_association",
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": "aws_iam_openid_connect_provider",
    "aws:cloudwatch/logGroup:LogGroup": "aws_cloudwatch_log_group",
}
"""Tokens whose Terraform type the rule does not give."""
# Services whose name Terraform leaves out.
_NAMELESS = ("ec2", "vpc")
NEWER = {"aws_eks_node_group": {"update_config.update_strategy"}}
"""Arguments that only later providers than the one at hand may know."""

Schema = dict[str, Any]


def type_of(token: str) -> str:
    """Return Terraform's type of a token."""
    if token in TYPES:
        return TYPES[token]
    _, module, kind = token.split(":")
    service = module.partition("/")[0]
    if token.startswith("aws:vpc/"):
        return f"aws_vpc_{snake(kind)}"
    return f"aws_{snake(kind)}" if service in _NAMELESS else f"aws_{service}_{snake(kind)}"


def snake(name: str) -> str:
    """Return a name in Terraform's case."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def as_json(graph: Graph, schemas: Schema) -> dict[str, Any]:
    """Return the graph as a Terraform configuration.

    Args:
        graph: the stack's.
        schemas: ``resource_schemas`` of the provider.
    """
    resources: dict[str, dict[str, Any]] = {}
    # Ids become references, so that what refers to nothing is seen.
    real = {
        identity(resource.type, resource.name): f"${{{type_of(resource.type)}.{_label(resource.name)}.id}}"
        for resource in graph.all()
    }
    for resource in graph.all():
        kind = type_of(resource.type)
        result = _block(_referring(resource.inputs, real), schemas[kind]["block"], NEWER.get(kind, set()), "")
        resources.setdefault(kind, {})[_label(resource.name)] = result
    provider = {"region": graph.provider().inputs["region"]}
    required = {"aws": {"source": "hashicorp/aws"}}
    return {"terraform": {"required_providers": required}, "provider": {"aws": provider}, "resource": resources}


def _label(name: str) -> str:
    label = re.sub(r"[^a-zA-Z0-9_-]", "-", name)
    return label if label[0].isalpha() else f"_{label}"


def _referring(value: Any, real: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _referring(item, real) for key, item in value.items()}
    if isinstance(value, list):
        return [_referring(item, real) for item in value]
    return real.get(value, value) if isinstance(value, str) else value


def _block(inputs: dict[str, Any], block: Schema, newer: set[str], at: str) -> dict[str, Any]:
    attributes = {**block.get("attributes", {}), **block.get("block_types", {})}
    out: dict[str, Any] = {}
    for key, value in inputs.items():
        name = _name(key, attributes)
        if f"{at}{name}" in newer:
            continue
        nested = block.get("block_types", {}).get(name)
        if nested:
            items = value if isinstance(value, list) else [value]
            out[name] = [_block(item, nested["block"], newer, f"{at}{name}.") for item in items]
        else:
            out[name] = _plain(value)
    return out


def _name(key: str, attributes: dict[str, Any]) -> str:
    name = snake(key)
    # What none of them is stays as it is: Terraform says what it does not know.
    return next(
        (
            candidate
            for candidate in (name, name.removesuffix("s"), re.sub("ies$", "y", name))
            if candidate in attributes
        ),
        name,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
