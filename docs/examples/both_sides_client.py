import asyncio
import sys

from sse_asgi import IncompleteStreamError
from sse_asgi.client import EventSource


async def receive(url):
    async with EventSource(url) as source:
        return await source.text()


if __name__ == "__main__":
    try:
        text = asyncio.run(receive(sys.argv[1]))
    except IncompleteStreamError as error:
        print(f"client: incomplete: {error.text!r}")
    else:
        print(f"client: complete: {text!r}")
