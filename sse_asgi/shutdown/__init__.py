"""How open streams learn that the server stops."""
