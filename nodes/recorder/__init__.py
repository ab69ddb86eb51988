"""The recorder node: execution records."""
