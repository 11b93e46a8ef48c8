"""Draw the architecture from the code, as Mermaid, into docs/architecture.md: ``python tools/picture.py [--check]``.

Roles and their order come from components/platform, the control plane from its builders, plugins from their table, so
that the picture cannot say what the code does not.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from inferstack.engine.plugins import PLUGINS
from inferstack.project import project_root
from rehearsal.control_plane.components import build_enabled
from rehearsal.control_plane.model import PlaneConfig, Ports

BEGIN, END = "<!-- picture: made by tools/picture.py -->", "<!-- end of picture -->"


def role_order(source: str) -> list[tuple[str, list[str]]]:
    """Return (variable, variables of the roles before it) for each role that the platform builds, in order."""
    tree = ast.parse(source)
    roles: dict[str, list[str]] = {}
    gathered: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)):
            continue
        target, value = node.targets[0], node.value
        if isinstance(value, ast.List):  # what several roles come after, under one name
            gathered[target.id] = _names(value)
        elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id[0].isupper():
            used = {name for keyword in value.keywords for name in _names(keyword.value)}
            used |= {role for name in used for role in gathered.get(name, ())}
            roles[target.id] = [role for role in roles if role in used]
    return list(roles.items())


def _names(node: ast.AST) -> set[str]:
    return {child.id for child in ast.walk(node) if isinstance(child, ast.Name)}


def draw(root: Path) -> str:
    """Return the picture."""
    lines = [
        "```mermaid",
        "flowchart LR",
        '  user(["pulumi up / make up"]) --> engine',
        '  subgraph program["one Pulumi program"]',
    ]
    roles = role_order((root / "components" / "platform" / "component.py").read_text())
    lines += [f'    {name}["{name}"]' for name, _ in roles]
    lines += [f"    {before} --> {name}" for name, after in roles for before in after]
    lines += ["  end", '  subgraph pulumi["Pulumi"]', '    engine["engine"]']
    for plugin in PLUGINS:
        lines.append(f'    {plugin.kind}["{plugin.kind} {plugin.name}<br/>vendor\'s, else stand-in"]')
        lines.append(f"    engine --> {plugin.kind}")
    lines += ["  end", "  language --> program", '  subgraph plane["rehearsal: processes on loopback"]']
    components = build_enabled(PlaneConfig(Path("/"), Ports(*range(8))))
    identifiers = {component.name: component.name.replace("-", "_") for component in components}
    for component in components:
        kind = "simulated" if component.name in ("kwok", "agent") else "real"
        lines.append(f'    {identifiers[component.name]}["{component.name}<br/>{kind}"]')
    for component in components:
        lines += [f"    {identifiers[component.name]} --> {identifiers[need]}" for need in component.depends_on]
    lines += [
        '    job_operator["InferenceJob operator<br/>real, a process of its pod"]',
        "    agent -- runs --> job_operator",
        "    job_operator --> kube_apiserver",
        "  end",
        "  resource -- server-side apply --> kube_apiserver",
        '  resource -. "stacks existing, aws" .-> cluster_real[("your cluster")]',
        "```",
    ]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Write the picture, or with ``--check`` return 1 where it is out of date."""
    root = project_root()
    page = root / "docs" / "architecture.md"
    text = page.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    updated = f"{head}{BEGIN}\n{draw(root)}\n{END}{tail}"
    if "--check" in arguments:
        if updated != text:
            sys.stderr.write("docs/architecture.md: the picture is out of date; run `python tools/picture.py`\n")
        return int(updated != text)
    page.write_text(updated)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
