"""External command-line tools: found on PATH, downloaded from a release or built, and kept in the cache folder.

``versions.yaml`` (key ``tools``) pins them. The package starts processes and downloads files.
"""

from inferstack.toolchain.binaries.resolve import Tool, ensure, inspect, locate

__all__ = ["Tool", "ensure", "inspect", "locate"]
