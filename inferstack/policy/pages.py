"""A rule as a page for people, in Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator

import yaml

from inferstack.policy.model import Example, Rule


def explain(rule: Rule) -> str:
    """Return the page of a rule."""
    return "\n".join(_lines(rule)) + "\n"


def gates(rule: Rule) -> str:
    """Return who judges by a rule, in words."""
    return "the policy pack and the API server" if rule.cel else "the policy pack"


def short_gates(rule: Rule) -> str:
    """Return where a rule is judged, for a table."""
    return "preview, API server" if rule.cel else "preview"


def frameworks(rule: Rule) -> str:
    """Return where a rule comes from, on one line."""
    return "; ".join(f"{one.name}: {one.control}" for one in rule.frameworks)


def _lines(rule: Rule) -> Iterator[str]:
    yield from (f"# {rule.id}", "", rule.title, "")
    yield f"Severity {rule.severity.value}; judged by {gates(rule)}. {_looks_at(rule)}"
    if rule.remedy:
        yield f"Level `remediate` adds the missing {rule.remedy} of `required`."
    yield from ("", f"**Why.** {rule.why}", "", f"**What to do.** {rule.fix}", "", "**From.**", "")
    yield from (f"- {framework.name}: {framework.control}" for framework in rule.frameworks)
    if rule.config:
        yield from ("", "**Configuration.**", "", "| key | type | default | meaning |", "|---|---|---|---|")
        for key, option in rule.config.items():
            default = json.dumps(option.default, ensure_ascii=False).replace("|", "\\|")
            yield f"| `{key}` | {option.type} | `{default}` | {option.description} |"
    if rule.cel:
        yield from ("", "**CEL.**", "", "```cel")
        if rule.cel.where != "true":
            yield f"// for objects with: {rule.cel.where}"
        if rule.cel.each:
            yield f"// for each item of: {rule.cel.each}"
        yield from (rule.cel.expression, "```")
    yield from _examples("Right", rule.good)
    yield from _examples("Wrong", rule.bad)


def _looks_at(rule: Rule) -> str:
    if rule.of_stack:
        return "It looks at the stack as a whole."
    if rule.check:
        return f"It looks at {', '.join(f'`{name}`' for name in rule.check.types)}."
    assert rule.cel is not None  # noqa: S101  # a rule has one of the two
    where = " in tenants' namespaces" if rule.cel.scope == "tenants" else ""
    return f"It looks at each {', '.join(rule.cel.served)}{where}."


def _examples(heading: str, examples: tuple[Example, ...]) -> Iterator[str]:
    first, *others = examples
    yield from ("", f"**{heading}:** {first.title}.", "", "```yaml")
    yield from (f"# {told}" for told in _setting(first))
    yield yaml.safe_dump_all(first.resources, sort_keys=False, default_flow_style=None, width=110).rstrip()
    yield "```"
    if others:
        yield from ("", f"{heading} too: {'; '.join(example.title for example in others)}.")


def _setting(example: Example) -> Iterator[str]:
    """Yield what else an example rests on."""
    if example.stack != "prod":
        yield f"stack {example.stack}"
    if example.config:
        yield f"configured: {json.dumps(example.config)}"
    if example.settings:
        yield f"settings of the stack: {json.dumps(example.settings)}"
