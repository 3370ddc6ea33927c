"""Every kind of source, as one async iterator of chunks."""
