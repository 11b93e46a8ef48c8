#!/usr/bin/env python3
"""Make one comment on a pull request of the reports that ``inferstack preview --report`` leaves.

    tools/ci/comment.py FOLDER [--expect STACK ...] [--to FILE | --post]

Prints the comment (Markdown) or writes it to a file. With ``--post`` it is put on the pull request PR_NUMBER of
GITHUB_REPOSITORY, over the comment of an earlier run where there is one; GITHUB_TOKEN needs the right to write to pull
requests.

Standard library only: it runs before and without the project's environment.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import re
import sys
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

MARKER = "<!-- inferstack preview -->"
LIMIT = 65_000
"""Characters; GitHub takes 65,536."""
FOLD = 10
"""Changes of a stack up to which they are shown unfolded."""
_ROWS = (400, 100, 25, 5, 0)
"""Rows of a table at most, tried in turn until the comment is short enough."""
_WIDTH = 400
_OPS = ("create", "update", "replace", "delete")
_SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|\b(AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}"
    r"|\bglpat-[A-Za-z0-9_-]{20,}"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*",
    re.DOTALL,
)
"""Texts that look like credentials. The engine hides what it knows as secret; this is for what nobody marked."""

Report = dict[str, Any]
Send = Callable[[str, str, "dict[str, str] | None"], Any]
"""Calls the API: method, path, content."""


def render(reports: Iterable[Report], limit: int = LIMIT, *, expected: Iterable[str] = ()) -> str:
    """Return the comment on reports, at most ``limit`` characters long; stacks that have none are named first."""
    reports = sorted(reports, key=lambda report: report["stack"])
    missing = sorted(set(expected) - {report["stack"] for report in reports})
    head = [f"- **no report** of {code(stack)}: its job failed or has not run." for stack in missing]
    head = [MARKER, "### Preview", "", *head, *([""] if head else []), *_overview(reports)]
    for rows in _ROWS:
        text = "\n".join([*head, *(_stack(report, rows) for report in reports)]) + "\n"
        if len(text) <= limit:
            return text
    end = "\n\n(cut: see the job's artifacts for all of it)\n"
    # A cell that is cut in two would leave open marks behind; whole lines do not.
    return text[: limit - len(end)].rpartition("\n")[0] + end


def _overview(reports: list[Report]) -> list[str]:
    if not reports:
        return ["No stack could be previewed; see the log of the jobs."]
    head = ["stack", *_OPS, "findings", "USD a month now", "after", "change"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for report in reports:
        counts, cost = report["counts"], report["cost"]
        cells = [code(report["stack"]), *(str(counts.get(op, 0)) for op in _OPS), _judged(report), *_money(cost)]
        lines.append(f"| {' | '.join(cells)} |")
    note = (
        "Costs are estimates: on-demand list prices of nodes, control plane, NAT gateways, endpoints and keys that run "
        "all month. Disks, traffic, logs and load balancers are not counted."
    )
    return [*lines, "", note, ""]


def _judged(report: Report) -> str:
    """Return how many findings there are, and of how many rules: without rules none would mean nothing."""
    if not report["rules"]:
        return "**not judged**"
    mandatory = sum(finding["level"] == "mandatory" for finding in report["findings"])
    held = f" ({mandatory} mandatory)" if mandatory else ""
    return f"{len(report['findings'])}{held} by {report['rules']} rules"


def _money(cost: dict[str, Any]) -> list[str]:
    if not cost["items"] and not cost["before"]:
        return ["", "", ""]
    least = "≥ " if cost["unknown"] else ""
    change = cost["after"] - cost["before"]
    return [f"{cost['before']:,.0f}", f"{least}{cost['after']:,.0f}", f"{change:+,.0f}" if round(change) else "0"]


def _stack(report: Report, rows: int) -> str:
    lines = [f"#### {code(report['stack'])}", ""]
    # A table right below a list would be text of its last item.
    lines += [*(f"- error: {plain(error)}" for error in report["errors"][:rows]), *([""] if report["errors"] else [])]
    lines += _findings(report["findings"], rows)
    lines += _changes(report["changes"], rows)
    if report["cost"]["unknown"]:
        lines += ["", f"Without a price: {', '.join(code(what) for what in report['cost']['unknown'][:20])}."]
    return "\n".join([*lines, ""])


def _findings(findings: list[dict[str, str]], rows: int) -> list[str]:
    if not findings:
        return []
    # What stops the update comes first: it must not be what is cut off.
    first = sorted(
        findings, key=lambda finding: (finding["level"] != "mandatory", finding["rule"], finding["resource"])
    )
    lines = ["| level | severity | rule | resource | finding |", "|---|---|---|---|---|"]
    for finding in first[:rows]:
        names = f"{code(finding['rule'])} | {code(finding['resource'])}"
        lines.append(
            f"| {plain(finding['level'])} | {plain(finding['severity'])} | {names} | {plain(finding['message'])} |"
        )
    if len(first) > rows:
        lines.append(f"\n{len(first) - rows} more findings are in the job's artifacts.")
    return [*lines, ""]


def _changes(changes: list[dict[str, Any]], rows: int) -> list[str]:
    if not changes:
        return ["Nothing changes."]
    # What cannot be undone comes first: it must not be what is cut off.
    first = sorted(changes, key=lambda change: (-_OPS.index(change["op"]), change["type"], change["name"]))
    table = ["| step | type | name | properties |", "|---|---|---|---|"]
    for change in first[:rows]:
        properties = ", ".join(code(path) for path in change["paths"][:12]) + (
            " …" if len(change["paths"]) > 12 else ""
        )
        table.append(f"| {change['op']} | {code(change['type'])} | {code(change['name'])} | {properties} |")
    if len(first) > rows:
        table.append(f"\n{len(first) - rows} more are in the job's artifacts.")
    if len(changes) <= FOLD:
        return table
    return ["<details>", f"<summary>{len(changes)} changes</summary>", "", *table, "", "</details>"]


def plain(text: str) -> str:
    """Return a text of anybody's as text of one table cell: no markup, no mention of people, no credentials."""
    flat = " ".join(hide(text).split())
    cut = flat if len(flat) <= _WIDTH else flat[: _WIDTH - 1] + "…"
    quoted = re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", html.escape(cut, quote=False))
    return quoted.replace("@", "@\u200b")


def code(text: str) -> str:
    """Return a name of anybody's as code in a table cell."""
    flat = " ".join(hide(text).split()).replace("`", "'").replace("|", "/")
    return f"`{flat[:_WIDTH]}`" if flat else ""


def hide(text: str) -> str:
    """Return a text without what looks like a credential."""
    return _SECRETS.sub("[hidden]", text)


def read(folder: Path) -> list[Report]:
    """Return the reports of a folder and those below it."""
    return [json.loads(path.read_text()) for path in sorted(folder.rglob("*.json"))]


def post(text: str, repository: str, number: int, send: Send) -> str:
    """Put a comment on a pull request, over ours where there is one. Returns what was done."""
    comments = f"/repos/{repository}/issues/{number}/comments"
    page = 1
    while batch := send("GET", f"{comments}?per_page=100&page={page}", None):
        for comment in batch:
            # Anybody can write the marker; only a comment of the pipeline's own account is written over.
            if comment["body"].startswith(MARKER) and comment["user"]["type"] == "Bot":
                send("PATCH", f"/repos/{repository}/issues/comments/{comment['id']}", {"body": text})
                return "updated"
        page += 1
    send("POST", comments, {"body": text})
    return "created"


def call(base: str, token: str) -> Send:
    """Return what calls GitHub's API with a token."""

    def send(method: str, path: str, content: dict[str, str] | None) -> Any:
        data = None if content is None else json.dumps(content).encode()
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"}
        # The address is GitHub's own, from the runner's variables.
        request = urllib.request.Request(base + path, data=data, headers=headers, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.load(answer)

    return send


def main(arguments: list[str]) -> int:
    """Run the command and return its exit code: 0, or 2 where a variable is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="with the reports, in folders below it as well")
    parser.add_argument("--expect", nargs="+", default=[], metavar="STACK", help="stacks that are to have a report")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--to", type=Path, help="write it to this file")
    where.add_argument("--post", action="store_true", help="put it on the pull request")
    options = parser.parse_args(arguments)
    text = render(read(options.folder), expected=options.expect)
    if options.to:
        options.to.write_text(text)
        return 0
    if not options.post:
        sys.stdout.write(text)
        return 0
    needed = ("GITHUB_API_URL", "GITHUB_REPOSITORY", "GITHUB_TOKEN", "PR_NUMBER")
    if missing := [name for name in needed if not os.environ.get(name)]:
        sys.stderr.write(f"error: {', '.join(missing)} must be set to post a comment\n")
        return 2
    base, repository, token, number = (os.environ[name] for name in needed)
    sys.stderr.write(f"comment {post(text, repository, int(number), call(base, token))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
