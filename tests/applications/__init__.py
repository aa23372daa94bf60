"""Applications that tests serve, each from its own file. The tests say by which file they are served."""
