"""A market worth looking at, made by the same operations that users call."""
