"""The rules that stacks are held to: listed, explained, tried on their own examples."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from inferstack.cli import output
from inferstack.cli.output import Format, FormatOption
from inferstack.policy.examples import evaluate_example
from inferstack.policy.model import Rule
from inferstack.policy.pages import explain as page_of
from inferstack.policy.pages import short_gates
from inferstack.policy.registry import find, rules

Row = dict[str, Any]


def list_rules(form: FormatOption = Format.TABLE) -> None:
    """List all rules.

    Shows what each rule checks, its severity and the gates that enforce it.
    """
    output.emit([_row(rule) for rule in rules().values()], form)


def explain(
    rule: Annotated[str, typer.Argument(help="Rule ID (see `inferstack policy list`).")],
    form: FormatOption = Format.TABLE,
) -> None:
    """Show the reason, remedy and examples of a rule.

    Also shows its configuration.
    """
    examples_result = find(rule)
    if form is Format.TABLE:
        typer.echo(page_of(examples_result), nl=False)
    else:
        output.emit([examples_result.model_dump(mode="json", by_alias=True, exclude_none=True)], form)


def try_rules(
    names: Annotated[list[str] | None, typer.Argument(help="Rule IDs (default: all).")] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Test rules on their own examples.

    Exits with status 1 if a rule accepts a bad example or rejects a good one.
    """
    chosen = [find(name) for name in names] if names else list(rules().values())
    today = datetime.datetime.now(datetime.UTC).date()
    rows = [row for rule in chosen for row in _tried(rule, today)]
    failed = [row for row in rows if row["verdict"] != row["wanted"]]
    output.emit(rows if form is not Format.TABLE else failed, form)
    output.say(f"{len(chosen)} rules, {len(rows)} examples, {len(failed)} judged wrongly")
    if failed:
        raise typer.Exit(1)


def _row(rule: Rule) -> Row:
    return {
        "rule": rule.id,
        "category": rule.category,
        "severity": rule.severity.value,
        "gates": short_gates(rule),
        "title": rule.title,
    }


def _tried(rule: Rule, today: datetime.date) -> Iterator[Row]:
    for wanted, examples in (("good", rule.good), ("bad", rule.bad)):
        for example in examples:
            verdict = "bad" if evaluate_example(rule, example, today) else "good"
            yield {"rule": rule.id, "example": example.title, "wanted": wanted, "verdict": verdict}
