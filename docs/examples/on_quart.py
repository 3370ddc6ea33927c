"""An answer as an event stream, in Quart."""

from model import answer, save
from quart import Quart, abort, make_response, request

from sse_asgi import EventStreamMiddleware, ServerSentEvent

app = Quart(__name__)
app.asgi_app = EventStreamMiddleware(app.asgi_app, on_complete=save)


async def events(prompt):
    async for chunk in answer(prompt):
        yield ServerSentEvent(data=chunk).encode()
    yield ServerSentEvent(data="[DONE]").encode()


@app.route("/answer", methods=["GET", "POST"])
async def endpoint():
    if request.headers.get("authorization") != "Bearer secret":
        abort(401)
    prompt = (await request.get_json() if request.method == "POST" else request.args)["prompt"]
    response = await make_response(events(prompt), {"content-type": "text/event-stream"})
    response.timeout = None  # Quart ends responses after 60 s otherwise
    return response
