"""One generator for the clients of OpenAI, Anthropic, AI SDK and AG-UI."""

from sse_asgi.chat.app import ChatApp
from sse_asgi.chat.chat import Chat
from sse_asgi.chat.error import ChatError

__all__ = ["Chat", "ChatApp", "ChatError"]
