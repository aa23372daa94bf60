"""One front per dialect a listener speaks: it drives a protocol over a stream and yields requests."""
