"""The command line: one file a noun; only render.py prints."""
