"""Write docs/policies from the rules: ``python tools/policy_pages.py [--check]``.

One page for each rule, with the output of `inferstack policy explain`, and the tables of all rules between the markers
of docs/policies/README.md.
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
    "tenancy": "Tenancy and RBAC",
    "mesh": "Service mesh",
    "network": "Networks",
    "supply": "Images and secrets",
    "storage": "Storage",
    "platform": "Platform",
    "aws": "AWS",
}
"""Headings of the tables, in their order."""
_HEADER = "| rule | requirement | severity | enforced by | frameworks |\n|---|---|---|---|---|"


def make_page(rule: Rule) -> str:
    """Return a rule's page."""
    back = f"[All rules](README.md) · `inferstack policy explain {rule.id}`"
    return f"{explain(rule)}\n{back}\n{MADE.format(rule.id)}\n"


def make_tables() -> str:
    """Return the table of rules of each category, most severe first."""
    counts = Counter(rule.severity for rule in rules().values())
    numbers = ", ".join(f"{counts[severity]} {severity.value}" for severity in reversed(Severity))
    both = sum(rule.cel is not None for rule in rules().values())
    parts = [f"{len(rules())} rules: {numbers}. {both} are also enforced by the API server."]
    for category, heading in CATEGORIES.items():
        rows = "\n".join(_rows(category))
        parts.append(f"## {heading}\n\n{_HEADER}\n{rows}")
    return "\n\n".join(parts)


def _rows(category: str) -> Iterator[str]:
    order = list(reversed(Severity))
    chosen = [rule for rule in rules().values() if rule.category == category]
    for rule in sorted(chosen, key=lambda rule: (order.index(rule.severity), rule.id)):
        cells = (f"[{rule.id}]({rule.id}.md)", rule.title, rule.severity.value, short_gates(rule), frameworks(rule))
        yield f"| {' | '.join(cells)} |"


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` report those that are not current."""
    folder = project_root() / "docs" / "policies"
    index = folder / "README.md"
    head, opened, rest = index.read_text().partition(BEGIN)
    _, closed, tail = rest.partition(END)
    if not opened or not closed:
        sys.stderr.write(f"docs/policies/README.md: the lines {BEGIN} and {END} are missing\n")
        return 1
    pages = {folder / f"{rule.id}.md": make_page(rule) for rule in rules().values()}
    pages[index] = f"{head}{BEGIN}\n{make_tables()}\n{END}{tail}"
    stale = [path for path, text in _all(folder, pages) if _update(path, text, check="--check" in arguments)]
    return int(bool(stale))


def _all(folder: Path, pages: dict[Path, str]) -> Iterator[tuple[Path, str | None]]:
    yield from pages.items()
    yield from ((path, None) for path in sorted(folder.glob("*.md")) if path not in pages)


def _update(path: Path, text: str | None, *, check: bool) -> bool:
    """Write a page, or delete it if its text is None; with ``check`` return whether it would change."""
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
