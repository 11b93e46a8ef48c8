"""A rule as a page for people, in Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator

import yaml

from inferstack.policy.model import Example, Rule


def explain(rule: Rule) -> str:
    """Return the page of a rule."""
    return "\n".join(_lines(rule)) + "\n"


def _lines(rule: Rule) -> Iterator[str]:
    gates = "the policy pack and the API server" if rule.cel else "the policy pack"
    yield from (f"# {rule.id}", "", rule.title, "")
    yield f"Severity {rule.severity.value}; judged by {gates}."
    if rule.cel and rule.cel.scope == "tenants":
        yield "It holds in tenants' namespaces."
    yield from ("", f"**Why.** {rule.why}", "", f"**What to do.** {rule.fix}", "", "**From.**", "")
    yield from (f"- {framework.name}: {framework.control}" for framework in rule.frameworks)
    if rule.config:
        yield from ("", "**Configuration.**", "", "| key | type | default | meaning |", "|---|---|---|---|")
        for key, option in rule.config.items():
            yield f"| `{key}` | {option.type} | `{json.dumps(option.default)}` | {option.description} |"
    if rule.cel:
        yield from ("", "**CEL.**", "", "```cel")
        if rule.cel.where != "true":
            yield f"// for objects with: {rule.cel.where}"
        if rule.cel.each:
            yield f"// for each item of: {rule.cel.each}"
        yield from (rule.cel.expression, "```")
    yield from _example("Right", rule.good[0])
    yield from _example("Wrong", rule.bad[0])


def _example(heading: str, example: Example) -> Iterator[str]:
    yield from ("", f"**{heading}:** {example.title}.", "", "```yaml")
    yield yaml.safe_dump_all(example.resources, sort_keys=False, default_flow_style=None, width=110).rstrip()
    yield "```"
