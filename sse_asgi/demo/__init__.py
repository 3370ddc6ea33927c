"""The demo: a page that shows both sides of a stream, and something to stream."""
