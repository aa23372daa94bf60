"""A live WebSocket connection: the protocol engine, a stream, and the greenlets that use them."""
