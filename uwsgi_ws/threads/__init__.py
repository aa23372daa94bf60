"""``--threads``: applications in native threads, while everything they touch stays in the hub's thread."""
