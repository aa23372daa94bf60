"""The only room that owns file descriptors: listeners and streams."""
