"""The documentation page of a rule, in Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator

import yaml

from inferstack.policy.model import Example, Rule


def explain(rule: Rule) -> str:
    """Return the page of a rule."""
    return "\n".join(_lines(rule)) + "\n"


def gates(rule: Rule) -> str:
    """Return where a rule is enforced, for a page."""
    return "the policy pack and the API server" if rule.cel else "the policy pack"


def short_gates(rule: Rule) -> str:
    """Return where a rule is enforced, for a table."""
    return "preview, API server" if rule.cel else "preview"


def frameworks(rule: Rule) -> str:
    """Return the controls that a rule implements, on one line."""
    return "; ".join(f"{framework.name}: {framework.control}" for framework in rule.frameworks)


def _lines(rule: Rule) -> Iterator[str]:
    yield from (f"# {rule.id}", "", rule.title, "")
    yield f"Severity {rule.severity.value}. Enforced by {gates(rule)}. {_subject(rule)}"
    if rule.remedy:
        yield f"Level `remediate` adds missing {rule.remedy} from `required`."
    yield from ("", f"**Rationale.** {rule.why}", "", f"**Fix.** {rule.fix}", "", "**Frameworks.**", "")
    yield from (f"- {framework.name}: {framework.control}" for framework in rule.frameworks)
    if rule.config:
        yield from ("", "**Configuration.**", "", "| key | type | default | description |", "|---|---|---|---|")
        for key, option in rule.config.items():
            default = json.dumps(option.default, ensure_ascii=False).replace("|", "\\|")
            yield f"| `{key}` | {option.type} | `{default}` | {option.description} |"
    if rule.cel:
        yield from ("", "**CEL.**", "", "```cel")
        if rule.cel.where != "true":
            yield f"// applies where: {rule.cel.where}"
        if rule.cel.each:
            yield f"// for each item in: {rule.cel.each}"
        yield from (rule.cel.expression, "```")
    yield from _examples("Allowed", rule.good)
    yield from _examples("Disallowed", rule.bad)


def _subject(rule: Rule) -> str:
    if rule.of_stack:
        return "Checks the stack as a whole."
    if rule.check:
        return f"Checks {', '.join(f'`{name}`' for name in rule.check.types)}."
    assert rule.cel is not None  # noqa: S101  # a rule has one of the two
    where = " in tenants' namespaces" if rule.cel.scope == "tenants" else ""
    return f"Checks {', '.join(rule.cel.served)}{where}."


def _examples(heading: str, examples: tuple[Example, ...]) -> Iterator[str]:
    first, *others = examples
    yield from ("", f"**{heading}:** {first.title}.", "", "```yaml")
    yield from (f"# {line}" for line in _context(first))
    yield yaml.safe_dump_all(first.resources, sort_keys=False, default_flow_style=None, width=110).rstrip()
    yield "```"
    if others:
        yield from ("", f"Also {heading.lower()}: {'; '.join(example.title for example in others)}.")


def _context(example: Example) -> Iterator[str]:
    """Yield the stack, configuration and settings of an example."""
    if example.stack != "prod":
        yield f"stack {example.stack}"
    if example.config:
        yield f"configuration: {json.dumps(example.config)}"
    if example.settings:
        yield f"stack settings: {json.dumps(example.settings)}"
