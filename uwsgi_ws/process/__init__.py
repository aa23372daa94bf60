"""The processes of an instance: what starts, watches and ends them, and what signals mean."""
