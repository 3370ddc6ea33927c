"""Which event loop runs, and what a stream needs of it."""
