"""RFC 6455: handshake, frames, messages, and the engine that puts them together."""
