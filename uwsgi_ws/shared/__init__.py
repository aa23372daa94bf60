"""Memory that all processes of an instance see; each seat in it has one writer."""
