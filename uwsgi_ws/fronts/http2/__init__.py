"""HTTP/2 for browsers and proxies: a connection, its streams, and each stream's request."""
