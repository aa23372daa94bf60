"""Who lives, who dies, and what signals mean."""
