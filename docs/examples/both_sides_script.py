import sys

import httpx

from sse_asgi.client import collect_text

with httpx.stream("GET", sys.argv[1], timeout=60.0) as response:
    print(f"client: complete: {collect_text(response)!r}")
