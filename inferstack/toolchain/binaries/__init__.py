"""The tools of the rehearsal: found on PATH, taken from a release or built, and kept in the cache folder."""

from inferstack.toolchain.binaries.resolve import Found, ensure, inspect, locate

__all__ = ["Found", "ensure", "inspect", "locate"]
