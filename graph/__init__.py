"""The shape: the schema, its types, and how a request becomes an execution of it."""
