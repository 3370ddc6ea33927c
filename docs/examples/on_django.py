"""An answer as an event stream, in Django: views, URLs and the ASGI application in one file."""

import json

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from model import answer, save

from sse_asgi import EventStreamMiddleware, ServerSentEvent

if not settings.configured:
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"])
    django.setup()


async def events(prompt):
    async for chunk in answer(prompt):
        yield ServerSentEvent(data=chunk).encode()
    yield ServerSentEvent(data="[DONE]").encode()


@csrf_exempt
async def view(request):
    if request.headers.get("authorization") != "Bearer secret":
        return HttpResponse(status=401)
    prompt = (json.loads(request.body) if request.method == "POST" else request.GET)["prompt"]
    return StreamingHttpResponse(events(prompt), content_type="text/event-stream")


urlpatterns = [path("answer", view)]
app = EventStreamMiddleware(get_asgi_application(), on_complete=save)
