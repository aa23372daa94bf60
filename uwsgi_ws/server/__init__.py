"""Accepts clients, runs their requests in order, and drains when the worker goes."""
