"""Memory that all processes of an instance see; each seat in it has one writer."""

from __future__ import annotations

__all__ = ["MAX_WORKERS"]

#: Workers of one instance, at most: what they share has room for so many, and for as many again that leave while those
#: that replace them are there already.
MAX_WORKERS = 512
