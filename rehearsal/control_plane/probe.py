"""Asking a component whether it is ready."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from pathlib import Path

from rehearsal.control_plane.model import Probe


def ask(probe: Probe, pki: Path, *, seconds: float = 2) -> str | None:
    """Return None when the component answers 200, else why not, in a few words."""
    context = None
    if probe.secure:
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(str(pki / "admin.crt"), str(pki / "admin.key"))
    try:
        with urllib.request.urlopen(probe.url, timeout=seconds, context=context):  # noqa: S310  # loopback, our own
            return None
    except urllib.error.HTTPError as error:
        with error:
            first = error.read(300).decode(errors="replace").strip().splitlines()
        return f"answers {error.code}: {first[0] if first else error.reason}"
    except urllib.error.URLError as error:
        return f"does not answer: {error.reason}"
    except (OSError, http.client.HTTPException) as error:
        return f"does not answer: {error}"
