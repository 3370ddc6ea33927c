"""From `module:attribute` to an app for the clients of OpenAI, Anthropic, AI SDK and AG-UI."""

from collections.abc import Callable, Mapping
from typing import Any, cast

from sse_asgi.asgi import ASGIApp
from sse_asgi.chat import Chat, ChatApp
from sse_asgi.chat.setup import Generate
from sse_asgi.cli.errors import CommandError
from sse_asgi.cli.function import parameters_of
from sse_asgi.cli.target import GRACE, find, is_asgi_app
from sse_asgi.shutdown.shutdown import Shutdown


def load_chat(target: str, model: str | None, settings: Mapping[str, Any]) -> ASGIApp:
    """Import the generator that the user named and make a `ChatApp` of it.

    A function whose one parameter is `prompt` gets the text of the user's last message; any other
    gets the `Chat`.

    Args:
        target: `module:attribute`; both may have dots.
        model: The one model's name, as clients list it; `None`: any name will do.
        settings: Options for the `ChatApp`.

    Raises:
        CommandError: If there is no such thing, or it cannot be served.
    """
    value = find(target)
    if is_asgi_app(value):
        raise CommandError(f"{target} is an ASGI app: serve it without --chat")
    models = None if model is None else (model,)
    try:
        return ChatApp(_generate(value), models=models, shutdown=Shutdown(grace=GRACE), **settings)
    except TypeError as error:
        raise CommandError(f"cannot serve {target}: {error}") from error


def _generate(value: object) -> Generate:
    if not callable(value) or list(parameters_of(value) or ()) != ["prompt"]:
        return cast("Generate", value)
    answer = cast("Callable[..., Any]", value)

    def generate(chat: Chat) -> Any:  # noqa: ANN401 - whatever gives chunks
        return answer(prompt=chat.text)

    return generate
