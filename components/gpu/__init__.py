"""GPUs: the operator that makes them usable, how they are cut, which layouts there are."""

from components.gpu import compatibility
from components.gpu.component import Gpu
from components.gpu.settings import GpuSettings

__all__ = ["Gpu", "GpuSettings", "compatibility"]
