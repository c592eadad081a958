"""The catalogue as plain data: one module per family, which only call `registry.register`."""
