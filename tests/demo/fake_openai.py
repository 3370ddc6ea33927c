"""An OpenAI-compatible endpoint that does as the prompt says: a real server for the tests.

The base URLs are `/one/v1`, which has one model, `/many/v1`, which has three, `/none/v1`,
and `/odd/v1`, which lists them in a way of its own.
The prompt names what to do: the text of `say`, or one of `BEHAVIOURS`.
"""

import asyncio
import json
from functools import partial

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

SEEN = {"requests": [], "open": 0}
MODELS = {"one": ["tiny"], "many": ["small", "middle", "large"], "none": []}
AWKWARD = ["<img src=x onerror=alert(1)>", "\r", "\n", "\r\n", "[DONE]", "\0", "\u2028", "\ufeff"]
AWKWARD += ["", " ", "naïve \U0001f407", "\ud83d", "\ude00", "data: x\n\n", "&amp;</div>"]


def chunk(content, **more):
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": None, **more}
    return json.dumps({"object": "chat.completion.chunk", "choices": [choice]})


def event(data, newline="\n"):
    return f"data: {data}{newline}{newline}"


FINISH = chunk(None, finish_reason="stop")
ROLE = json.dumps({"choices": [{"delta": {"role": "assistant", "content": None}}]})
USAGE = json.dumps({"choices": [], "usage": {"total_tokens": 7}})


async def say(text):
    yield event(ROLE) + ": a comment\n\n"
    for word in text.split(" "):
        yield event(chunk(word + " "), "\r\n")
        await asyncio.sleep(0.01)
    yield event(FINISH) + event(USAGE) + event("[DONE]") + event(chunk("after the end"))


async def awkward():
    for text in AWKWARD:
        yield event(chunk(text))
        await asyncio.sleep(0)
    yield event(chunk("", finish_reason="stop"))
    yield event("[DONE]")


async def without_done():
    yield event(chunk("whole")) + event(FINISH)


async def cut():
    yield event(chunk("half of"))


async def only_done():
    yield event(chunk("half of")) + event("[DONE]")


async def failing():
    yield event(chunk("so far"))
    yield event(json.dumps({"error": {"message": "the engine is overloaded", "code": 503}}))


async def garbage(data):
    yield event(chunk("so far"))
    yield event(data)


async def endless():
    SEEN["open"] += 1
    try:
        while True:
            yield event(chunk("tick "))
            await asyncio.sleep(0.01)
    finally:
        SEEN["open"] -= 1


BEHAVIOURS = {
    "awkward": awkward,
    "without-done": without_done,
    "cut": cut,
    "only-done": only_done,
    "failing": failing,
    "garbage": partial(garbage, "{not json"),
    "a-number": partial(garbage, "7"),
    "a-list": partial(garbage, "[1]"),
    "wrong-choices": partial(garbage, '{"choices": {"a": 1}}'),
    "deep": partial(garbage, "[" * 100_000),
    "endless": endless,
}
REFUSALS = {
    "unauthorized": lambda: JSONResponse({"error": {"message": "no such key"}}, 401),
    "plain-error": lambda: JSONResponse({"error": "model not found"}, 404),
    "page": lambda: PlainTextResponse("Bad\ngateway " + "x" * 1000, 502),
    "empty": lambda: Response(status_code=503),
}


async def complete(request):
    body = await request.json()
    SEEN["requests"].append({**body, "authorization": request.headers.get("authorization")})
    prompt = body["messages"][-1]["content"]
    if prompt in REFUSALS:
        return REFUSALS[prompt]()
    answer = BEHAVIOURS.get(prompt) or partial(say, prompt)
    return StreamingResponse(answer(), media_type="text/event-stream")


async def models(request):
    if request.path_params["base"] == "odd":
        return JSONResponse({"data": ["tiny"]})
    names = MODELS[request.path_params["base"]]
    return JSONResponse({"object": "list", "data": [{"id": name} for name in names]})


async def seen(request):
    return JSONResponse(SEEN)


app = Starlette(
    routes=[
        Route("/seen", seen),
        Route("/{base}/v1/models", models),
        Route("/{base}/v1/chat/completions", complete, methods=["POST"]),
    ]
)
