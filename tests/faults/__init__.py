"""Each system call of a worker fails in turn, and what comes of it."""
