"""The listener node: HTTP intake and the event queue."""
