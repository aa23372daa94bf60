"""Channels of several instances, through Redis or Valkey: ``--channels redis://…``."""
