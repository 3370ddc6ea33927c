"""The demo's source, served to the clients of OpenAI, Anthropic, AI SDK and AG-UI."""

from collections.abc import AsyncIterator

from sse_asgi import Shutdown
from sse_asgi.chat import Chat, ChatApp, ChatError
from sse_asgi.demo.openai import EndpointError
from sse_asgi.demo.source import Source

MODEL = "demo"
"""The name by which clients ask for it."""

LONGEST_PROMPT = 4_000
"""Characters that a prompt may have."""


def chat_app(source: Source) -> ChatApp:
    """Serve a source to every client."""

    def generate(chat: Chat) -> AsyncIterator[str]:
        if len(chat.text) > LONGEST_PROMPT:
            raise ChatError(400, f"A prompt has at most {LONGEST_PROMPT} characters.")
        return source.answer(chat.text)

    return ChatApp(
        generate,
        models=(MODEL,),
        shutdown=Shutdown(grace=1.0),
        describe_error=describe_error,
    )


def describe_error(error: BaseException) -> str:
    """Return what a page or a client may know of a failure."""
    return str(error) if isinstance(error, EndpointError) else "the source failed"
