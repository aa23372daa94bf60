"""PEP 3333: applications loaded, their environ made, their answers taken."""
