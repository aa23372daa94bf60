"""Publish and subscribe across workers: what one worker publishes reaches the subscribers of all."""
