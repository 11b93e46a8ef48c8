"""Readiness probes of components."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Probe:
    """An HTTP GET that returns status 200 when the component is ready."""

    url: str
    secure: bool = False
    """Use the rehearsal's CA and the administrator's certificate."""


def check(probe: Probe, pki: Path, *, seconds: float = 2) -> str | None:
    """Return None if the component is ready, else the reason in a few words."""
    context = None
    if probe.secure:
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(str(pki / "admin.crt"), str(pki / "admin.key"))
    try:
        with urllib.request.urlopen(probe.url, timeout=seconds, context=context):  # noqa: S310  # loopback, our own
            return None
    except urllib.error.HTTPError as error:
        with error:
            lines = error.read(300).decode(errors="replace").strip().splitlines()
        return f"returns status {error.code}: {lines[0] if lines else error.reason}"
    except urllib.error.URLError as error:
        return f"does not respond: {error.reason}"
    except (OSError, http.client.HTTPException) as error:
        return f"does not respond: {error}"
