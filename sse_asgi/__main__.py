"""`python -m sse_asgi` is `sse-asgi`."""

import sys

from sse_asgi.cli import main

if __name__ == "__main__":
    sys.exit(main())
