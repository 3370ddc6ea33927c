"""Framings in the words of the clients that people use: OpenAI's, Anthropic's, AI SDK's, AG-UI's.

Each is a `Framing` like `TextFraming`: give it to `EventStream`, or to a client.
"""

from sse_asgi.dialects.ag_ui import AGUI
from sse_asgi.dialects.anthropic_messages import AnthropicMessages
from sse_asgi.dialects.chat_completions import ChatCompletions
from sse_asgi.dialects.responses import Responses
from sse_asgi.dialects.ui_messages import UIMessages

__all__ = ["AGUI", "AnthropicMessages", "ChatCompletions", "Responses", "UIMessages"]
