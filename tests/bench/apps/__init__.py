"""One ASGI app per contestant, each as its documentation says to write it, with its defaults."""
