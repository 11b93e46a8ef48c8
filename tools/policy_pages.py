"""Write docs/policies from the rules: ``python tools/policy_pages.py [--check]``.

A page a rule, which is what `inferstack policy explain` shows, and the tables of all rules between the markers of
docs/policies/README.md, so that no page says what no rule holds.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from inferstack.policy.model import Rule, Severity
from inferstack.policy.pages import explain, frameworks, short_gates
from inferstack.policy.registry import rules
from inferstack.project import project_root

BEGIN, END = "<!-- rules: made by tools/policy_pages.py -->", "<!-- end of rules -->"
MADE = "<!-- made by tools/policy_pages.py: change inferstack/policy/rules/{}.yaml -->"
CATEGORIES = {
    "pods": "Pods",
    "gpu": "GPUs",
    "delivery": "Delivery",
    "tenancy": "Tenants and rights",
    "mesh": "The mesh",
    "network": "Networks",
    "supply": "Images and secrets",
    "storage": "Storage",
    "platform": "The platform",
    "aws": "AWS",
}
"""Headings of the table, in their order."""


def make_page(rule: Rule) -> str:
    """Return a rule's page."""
    back = f"[All rules](README.md) · `inferstack policy explain {rule.id}`"
    return f"{explain(rule)}\n{back}\n{MADE.format(rule.id)}\n"


def make_tables() -> str:
    """Return the table of rules of each category, most severe first."""
    found = Counter(rule.severity for rule in rules().values())
    numbers = ", ".join(f"{found[severity]} {severity.value}" for severity in reversed(Severity))
    both = sum(rule.cel is not None for rule in rules().values())
    parts = [f"{len(rules())} rules: {numbers}. {both} of them the API server holds too."]
    for category, heading in CATEGORIES.items():
        rows = "\n".join(_rows(category))
        parts.append(
            f"## {heading}\n\n| rule | what holds | severity | judged by | from |\n|---|---|---|---|---|\n{rows}"
        )
    return "\n\n".join(parts)


def _rows(category: str) -> Iterator[str]:
    order = list(reversed(Severity))
    chosen = [rule for rule in rules().values() if rule.category == category]
    for rule in sorted(chosen, key=lambda one: (order.index(one.severity), one.id)):
        cells = (f"[{rule.id}]({rule.id}.md)", rule.title, rule.severity.value, short_gates(rule), frameworks(rule))
        yield f"| {' | '.join(cells)} |"


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` tell whether they are current."""
    folder = project_root() / "docs" / "policies"
    index = folder / "README.md"
    head, found, rest = index.read_text().partition(BEGIN)
    _, closed, tail = rest.partition(END)
    if not found or not closed:
        sys.stderr.write(f"docs/policies/README.md: the lines {BEGIN} and {END} are missing\n")
        return 1
    fresh = {folder / f"{rule.id}.md": make_page(rule) for rule in rules().values()}
    fresh[index] = f"{head}{BEGIN}\n{make_tables()}\n{END}{tail}"
    wrong = [path for path, text in _all(folder, fresh) if _settle(path, text, check="--check" in arguments)]
    return int(bool(wrong))


def _all(folder: Path, fresh: dict[Path, str]) -> Iterator[tuple[Path, str | None]]:
    yield from fresh.items()
    yield from ((path, None) for path in sorted(folder.glob("*.md")) if path not in fresh)


def _settle(path: Path, text: str | None, *, check: bool) -> bool:
    """Make a page what it should be, None for gone, or tell with ``check`` whether it is not."""
    old = path.read_text() if path.exists() else None
    if old == text:
        return False
    if check:
        what = "there is no such rule" if text is None else "is not current"
        sys.stderr.write(f"docs/policies/{path.name}: {what}; run `python tools/policy_pages.py`\n")
    elif text is None:
        path.unlink()
    else:
        path.write_text(text)
    return check


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
