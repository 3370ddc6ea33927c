"""What a user gave to a `ChatApp`: checked once, and asked by every request."""

import inspect
import logging
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, cast

from sse_asgi.app import EventStream, compression_of
from sse_asgi.around import Attendant, Layer, Refusal
from sse_asgi.chat.chat import Chat
from sse_asgi.chat.error import ChatError, InvalidRequestError
from sse_asgi.chat.models import Models, ModelsInput
from sse_asgi.checks import check_takes
from sse_asgi.dialects import ChatCompletions
from sse_asgi.headers import HeadersInput, make_headers
from sse_asgi.shutdown.shutdown import Shutdown
from sse_asgi.source.request import Request
from sse_asgi.stream.failure import MESSAGES, DescribeError, describe
from sse_asgi.stream.options import OnChunk
from sse_asgi.stream.transcript import Transcript
from sse_asgi.wire.events import ServerSentEvent
from sse_asgi.wire.failure import RATE_LIMITED, ErrorMessage
from sse_asgi.wire.outcome import Outcome
from sse_asgi.wire.parts import Part

if TYPE_CHECKING:  # who uses one of these imports it; nobody else has to
    from sse_asgi.limits import Limits
    from sse_asgi.limits.admission import Admitted
    from sse_asgi.telemetry import Telemetry
    from sse_asgi.telemetry.telemetry import Watching

Chunk: TypeAlias = str | Part | ServerSentEvent | None
Chunks: TypeAlias = AsyncIterable[Chunk] | Iterable[Chunk]
Generate: TypeAlias = Callable[[Chat], Chunks | Awaitable[Chunks]]
Authorize: TypeAlias = Callable[[Request], Awaitable[Any] | Any]
OnChatComplete: TypeAlias = (
    Callable[[Transcript], Awaitable[object] | object]
    | Callable[[Transcript, Chat], Awaitable[object] | object]
)

_logger = logging.getLogger("sse_asgi")
_ANY_DIALECT = ChatCompletions("any")
_OF_STREAMS = (b"content-type", b"cache-control", b"x-accel-buffering")


class StreamOptions(TypedDict, total=False):
    """The options that go on to `EventStream`."""

    on_chunk: OnChunk | None
    status: int
    headers: HeadersInput | None
    heartbeat: float | None
    send_timeout: float | None
    cleanup_timeout: float
    prefetch: bool | float
    record: bool
    max_body_size: int
    shutdown: Shutdown | None
    describe_error: DescribeError | None
    context: Context | None
    coalesce: float | None
    limits: "Limits | None"
    compress: tuple[str, ...]
    telemetry: "Telemetry | None"


class Setup:
    """The functions and options of one app.

    Attributes:
        generate: The generator function.
        models: The models.
        options: The options of the streams.
        headers: The user's header fields, for answers that are no streams.
        max_body_size: The largest body, in bytes.
        viewer_layers: What stands around the responses to viewers of live answers.

    Raises:
        TypeError: An argument has a wrong type.
        ValueError: An argument has a value that cannot work.
    """

    def __init__(
        self,
        generate: Generate,
        models: ModelsInput,
        authorize: Authorize | None,
        on_complete: OnChatComplete | None,
        options: StreamOptions,
    ) -> None:
        _check_callable("generate", generate, "the Chat")
        _check_callable("authorize", authorize, "the Request")
        for name in options:
            if name in ("source", "framing"):
                raise TypeError(f"ChatApp has no option {name}: leave it out; each request sets it")
            if name not in StreamOptions.__annotations__:
                raise TypeError(f"ChatApp has no option {name}: leave it out")
        self._on_complete = on_complete
        self._hook_takes = _check_callable("on_complete", on_complete, "the Transcript", "the Chat")
        self.generate = generate
        self.models: Models = Models(models)
        self._authorize = authorize
        self._describe_error = options.get("describe_error")
        self.options: StreamOptions = _prepared(options)
        checked = EventStream((), **self.options).options
        self.max_body_size: int = checked.max_body_size
        self.headers: tuple[tuple[bytes, bytes], ...] = tuple(
            field for field in make_headers(options.get("headers")) if field[0] not in _OF_STREAMS
        )
        self._limits, self._telemetry = options.get("limits"), options.get("telemetry")
        watching = None if self._telemetry is None else self._telemetry.of_viewers()
        compression = cast("Layer | None", self.options.get("compress") or None)
        layers = (watching, compression)
        self.viewer_layers: tuple[Layer, ...] = tuple(each for each in layers if each is not None)
        self.options["describe_error"] = self._describe
        self.options.setdefault("prefetch", checked.heartbeat or True)

    async def principal_of(self, request: Request) -> object | None:
        """Return who asks, as `authorize` says.

        Raises:
            InvalidRequestError: `authorize` refuses the client.
        """
        if self._authorize is None:
            return None
        principal = self._authorize(request)
        if inspect.isawaitable(principal):
            principal = await principal
        if principal is None or principal is False:
            raise InvalidRequestError(
                "authorization",
                "The authorization is missing or wrong.",
                status=401,
                code="invalid_api_key",
            )
        return cast("object", principal)

    async def admit(self, chat: Chat, *, streams: bool) -> StreamOptions:
        """Return the options of an answer that has a place.

        Raises:
            ChatError: There is no place for it.
        """
        if self._limits is None and self._telemetry is None:
            return self.options
        options = self.options.copy()
        if self._telemetry is not None:
            telemetry = self._of_chat(self._telemetry, chat, streams=streams)
            options["telemetry"] = cast("Telemetry", telemetry)
        if self._limits is not None:
            options["limits"] = cast("Limits", await self.place(chat))
        return options

    @property
    def is_limited(self) -> bool:
        """Whether an answer needs a place."""
        return self._limits is not None

    def watch(self, chat: Chat) -> Attendant | None:
        """Return what measures a generation, if there is telemetry."""
        if self._telemetry is None:
            return None
        return self._of_chat(self._telemetry, chat, streams=True).of_generation()

    def _of_chat(self, telemetry: "Telemetry", chat: Chat, *, streams: bool) -> "Watching":
        is_known = not self.models.takes_any
        return telemetry.of_chat(chat.model, is_known=is_known, streams=streams)

    async def place(self, chat: Chat) -> "Admitted | None":
        """Take a place for an answer, if there are limits.

        Raises:
            ChatError: There is none.
        """
        if self._limits is None:
            return None
        admitted = await self._limits.admit(chat.request)
        if isinstance(admitted, Refusal):
            if self._telemetry is not None:
                self._telemetry.count_refusal()
            raise ChatError(
                429,
                admitted.message,
                code=RATE_LIMITED,
                retry_after=admitted.retry_after,
            )
        return admitted

    def as_chat_error(self, error: BaseException, *, is_logged: bool = False) -> ChatError:
        """Return what the client may know of an error. What it may not know is logged."""
        if isinstance(error, ChatError):
            return error
        if not is_logged:
            _logger.error("a chat failed", exc_info=error)
        message = describe(Outcome.FAILED, error, self._describe_error)
        if message == MESSAGES[Outcome.FAILED]:  # nothing has streamed
            message = "The answer failed on the server."
        return ChatError(500, message, code="internal_error")

    def for_hook(self, chat: Chat) -> Callable[[Transcript], object] | None:
        """Return `on_complete` as a function of the transcript alone."""
        hook = cast("Callable[..., object] | None", self._on_complete)
        if hook is None or self._hook_takes == 1:
            return hook
        return lambda transcript: hook(transcript, chat)

    def _describe(self, error: BaseException) -> str:
        if isinstance(error, ChatError):
            return ErrorMessage(error.message, error.code)
        if self._describe_error is None:
            return MESSAGES[Outcome.FAILED]
        return self._describe_error(error)


def _check_callable(name: str, value: object, *arguments: str) -> int:
    if value is None and name != "generate":
        return 1
    if not callable(value):
        raise TypeError(f"{name} must be a function, not of type {type(value).__qualname__}")
    return check_takes(value, name, *arguments)


def _prepared(options: StreamOptions) -> StreamOptions:
    """Return the options with what compresses made once: every dialect gains by it."""
    options = options.copy()
    if compress := options.get("compress", ()):
        made = compression_of(compress, _ANY_DIALECT, options.get("headers"))
        options["compress"] = cast("tuple[str, ...]", made)
    return options
