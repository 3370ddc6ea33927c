"""The life of one response: what happens between a source and a server's `send`."""
