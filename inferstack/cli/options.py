"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StackOption = Annotated[str, typer.Option("--stack", "-s", help="Stack name (stacks/Pulumi.NAME.yaml).")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
ConfigOption = Annotated[
    list[str] | None,
    typer.Option("--config", "-c", help="Setting for this run, such as inferstack:gpu.mig.strategy=single."),
]
PoliciesOption = Annotated[bool, typer.Option("--policies/--no-policies", help="Enforce the policy rules.")]
KubeconfigOption = Annotated[Path | None, typer.Option("--kubeconfig", help="Kubeconfig (default: kubectl's).")]
RehearsalKubeconfigOption = Annotated[
    Path | None, typer.Option("--kubeconfig", help="Kubeconfig (default: the rehearsal's).")
]
ContextOption = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.")]
NodeName = Annotated[str, typer.Argument(metavar="NODE", help="Node name.")]
