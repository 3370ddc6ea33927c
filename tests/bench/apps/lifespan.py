"""Answers to the lifespan protocol, for apps written by hand."""


async def answer_lifespan(receive, send):
    """Complete startup and shutdown."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
