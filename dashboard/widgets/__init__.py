"""Widgets that more than one screen uses, a file each."""
