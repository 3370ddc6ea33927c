import asyncio

from sse_asgi import EventStream


async def answer(request):
    prompt = request.query_params.get("prompt", "world")
    for word in f"Hello, {prompt}! This text arrives word by word.".split():
        yield word + " "
        await asyncio.sleep(0.1)


stream = EventStream(answer)
