"""Kernel: settings of the nodes for low network latency, with a dry run and a way back."""

from components.kernel.component import Kernel
from components.kernel.settings import KernelSettings

__all__ = ["Kernel", "KernelSettings"]
