"""The cluster of a stack: its kubeconfig and, on AWS, its region."""

from __future__ import annotations

from pathlib import Path

from inferstack.cli.stack.control_plane import is_local
from inferstack.cli.stack.session import Session
from inferstack.errors import UserError


def kubeconfig_of(session: Session) -> tuple[Path | None, str | None]:
    """Return path and context of the stack's kubeconfig; None where kubectl's default applies.

    Raises:
        UserError: the stack creates its own cluster and has not done so yet.
    """
    if is_local(session.configuration()):
        return session.state / "kubeconfig", None
    if region_of(session):
        content = session.outputs(secrets=True).get("kubeconfigContent") if session.exists() else None
        if not content:
            raise UserError(
                f"The stack {session.stack} has no cluster yet: create it with `inferstack up -s {session.stack}`."
            )
        path = session.state / "stacks" / f"{session.stack}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(content)
        return path, None
    cluster = session.configuration().get("inferstack:cluster") or {}
    named = cluster.get("kubeconfig")
    return (Path(named).expanduser() if named else None), cluster.get("context")


def region_of(session: Session) -> str | None:
    """Return the AWS region of a stack that creates its own cluster there; None for other stacks."""
    configuration = session.configuration()
    if configuration.get("inferstack:place") != "aws":
        return None
    return str(((configuration.get("inferstack:cluster") or {}).get("aws") or {}).get("region", ""))
