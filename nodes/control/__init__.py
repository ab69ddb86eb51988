"""The control node: tenants, keys, job definitions, the node registry."""
