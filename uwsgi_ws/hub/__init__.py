"""Who runs when: the event loop's poller, wheel and timers, greenlets, and the ways for other threads into it."""
