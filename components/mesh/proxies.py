"""Features of the pinned Istio's proxies that Istio's API does not cover."""

from __future__ import annotations

import re

from inferstack.versions import load as load_versions

PEAK_EWMA = re.compile(r"^1\.(29|30|31)\.")
"""Istio's releases whose proxy has ``envoy.load_balancing_policies.peak_ewma`` and the HTTP filter that feeds it.

It is a contrib extension, which Envoy's own builds leave out. Source: istio/proxy,
``bazel/extension_config/extensions_build_config.bzl``, ISTIO_ENABLED_CONTRIB_EXTENSIONS, read at tag 1.30.3 and at the
branches release-1.29 and release-1.31; release-1.28 has none. It is bounded above because the type's name ends in
``v3alpha``, so that a later Envoy may drop it.
"""


def pinned_version() -> str:
    """Return the version of Istio that the platform installs."""
    return str(load_versions()["charts"]["istiod"]["version"])


def has_peak_ewma(version: str) -> bool:
    """Return whether the proxy of a release of Istio can balance by peak EWMA."""
    return bool(PEAK_EWMA.match(version))
