"""Bytes and text: events, their decoder, and framings. No I/O and no event loop."""
