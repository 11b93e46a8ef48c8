"""WebAssembly: a runtime class for light inference jobs, with the shim behind it."""
