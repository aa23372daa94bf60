"""Applications in other languages, in processes of their own: see ``docs/companion-protocol.md``."""
