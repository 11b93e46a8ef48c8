"""WebAssembly: a runtime class for light inference jobs, with the shim behind it."""

from components.wasm.component import Wasm, WasmSample
from components.wasm.settings import WasmSettings

__all__ = ["Wasm", "WasmSample", "WasmSettings"]
