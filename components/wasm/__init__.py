"""WebAssembly: a runtime class for light inference jobs."""

from components.wasm.component import Wasm
from components.wasm.settings import WasmSettings

__all__ = ["Wasm", "WasmSettings"]
