"""An answer as an event stream, without a framework."""

from model import answer, save

from sse_asgi import EventStream


async def source(request):
    if request.method == "POST":
        prompt = (await request.json())["prompt"]
    else:
        prompt = request.query_params.get("prompt", "")
    async for chunk in answer(prompt):
        yield chunk


stream = EventStream(source, on_complete=save)


async def app(scope, receive, send):
    if scope["type"] == "http" and (b"authorization", b"Bearer secret") not in scope["headers"]:
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b""})
    else:
        await stream(scope, receive, send)
