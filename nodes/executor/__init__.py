"""The executor node: runs one guest at a time."""
