"""An answer as an event stream, in Falcon."""

import falcon
import falcon.asgi
from model import answer, save

from sse_asgi import EventStreamMiddleware, ServerSentEvent


async def events(prompt):
    async for chunk in answer(prompt):
        yield ServerSentEvent(data=chunk).encode()
    yield ServerSentEvent(data="[DONE]").encode()


class Answer:
    async def on_get(self, request, response):
        self.stream(response, request.get_param("prompt", required=True))

    async def on_post(self, request, response):
        self.stream(response, (await request.get_media())["prompt"])

    def stream(self, response, prompt):
        response.content_type = "text/event-stream"
        response.stream = events(prompt)


class Authorized:
    async def process_request(self, request, _):
        if request.get_header("authorization") != "Bearer secret":
            raise falcon.HTTPUnauthorized


falcon_app = falcon.asgi.App(middleware=[Authorized()])
falcon_app.add_route("/answer", Answer())
app = EventStreamMiddleware(falcon_app, on_complete=save)
