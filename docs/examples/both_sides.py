import asyncio

from sse_asgi import EventStream


async def answer(request):
    prompt = request.query_params.get("prompt", "world")
    for word in f"Hello, {prompt}! Both sides keep every word of this.".split():
        yield word + " "
        await asyncio.sleep(0.1)


def save(transcript):
    print(f"server: {transcript.outcome}: {transcript.text!r}", flush=True)


stream = EventStream(answer, on_complete=save)
