"""Accepts clients, takes their requests through the steps, and drains when the worker stops."""
