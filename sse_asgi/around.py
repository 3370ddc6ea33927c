"""What may stand around the answers of an app: admission, telemetry, compression.

An app that uses none of these has no layer, and its answers pass nothing of this.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final, TypeAlias, cast

from sse_asgi.asgi import Receive, Scope, Send
from sse_asgi.stream.options import Options

Answer: TypeAlias = Callable[[Options, Scope, Receive, Send], Awaitable[None]]
"""Answers one HTTP request with the stream of an app."""


class Layer(ABC):
    """Stands around the answers of an app: it may refuse one, or wrap its `send`.

    Attributes:
        option: The option that takes it.
        kind: What an error calls the values of that option.
    """

    option: ClassVar[str]
    kind: ClassVar[str]

    @abstractmethod
    def answer(
        self, answer: Answer, options: Options, scope: Scope, receive: Receive, send: Send
    ) -> Awaitable[None]:
        """Answer one request, by `answer` or in its place."""


class Attendant:
    """Stands by one generation of `Live`, which goes on without any request."""

    def attending(self, options: Options) -> Options:
        """Return the options of the generation, with the hooks that the attendant needs."""
        return options

    def begun(self) -> None:
        """Note that the generation runs. Not called where its id exists already."""

    def over(self) -> None:
        """Note that its task has ended. Called once, also if it never ran."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request gets no stream now.

    Attributes:
        message: What its client is told.
        retry_after: Seconds after which a new try makes sense.
    """

    message: str
    retry_after: int


def check_layer(option: str, value: object, kind: str) -> None:
    """Check the value of an option that takes a layer.

    Raises:
        TypeError: It is of another kind.
    """
    fits = isinstance(value, Layer) and not isinstance(value, type) and value.option == option
    if value is not None and not fits:
        name = type(value).__qualname__
        raise TypeError(f"{option} must be a {kind} or None, not {value!r} ({name})")


def enclosed(answer: Answer, layers: Iterable[Layer]) -> Answer:
    """Return an answer with these layers around it, the outermost first."""
    for layer in reversed(tuple(layers)):
        answer = partial(layer.answer, answer)
    return answer


CODINGS: Final = ("zstd", "gzip")


def check_codings(compress: object) -> tuple[str, ...]:
    """Return the value of the option `compress`, which is one.

    Raises:
        TypeError: It is no tuple of names.
        ValueError: A name is none of `CODINGS`, or comes twice.
    """
    if not isinstance(compress, tuple):
        kind = type(compress).__qualname__
        raise TypeError(f'compress must be a tuple such as ("gzip",), not {compress!r} ({kind})')
    names = cast("tuple[object, ...]", compress)
    for name in names:
        if name not in CODINGS:
            raise ValueError(f"compress may hold {' and '.join(CODINGS)}, not {name!r}")
    if len(set(names)) < len(names):
        raise ValueError(f"compress must hold each coding once, not {compress!r}")
    return cast("tuple[str, ...]", compress)
