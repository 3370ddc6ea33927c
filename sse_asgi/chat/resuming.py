"""Where clients come back for an answer that `Live` runs, or have it stopped."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final

from sse_asgi.app import EventStream
from sse_asgi.chat.client import Answer, Client, json_answer
from sse_asgi.chat.dialects import AG_UI, AI_SDK, RESPONSES, Act, Address, Dialect
from sse_asgi.chat.error import ChatError, InvalidRequestError
from sse_asgi.chat.relay import WORDS_OF_CHATS, WORDS_OF_RUNS, Relay, Words, words_of_response
from sse_asgi.chat.response_state import after_number, read_response, wait_for_end
from sse_asgi.chat.setup import Setup
from sse_asgi.dialects import Responses
from sse_asgi.errors import LogError, LogUnavailableError, UnknownGenerationError
from sse_asgi.live import Generation, Head, Live
from sse_asgi.live.events import has_seen_all, position_of
from sse_asgi.live.record import meta_of
from sse_asgi.stream.options import Options

CANCELLING: Final = 5.0
"""Seconds for which `cancel` waits for the end, to answer with it."""

_NOTHING: Final = Answer(204, b"")


class Resuming:
    """Gives running answers back to clients, and stops them.

    Args:
        live: Where they run.
        setup: What the user gave to the `ChatApp`.

    Attributes:
        options: The checked options of the app's streams.

    Raises:
        TypeError: `live` is no `Live`.
    """

    def __init__(self, live: Live, setup: Setup) -> None:
        if not isinstance(live, Live):
            raise TypeError(f"live must be a Live or None, not of type {type(live).__qualname__}")
        self._answers = live.answers
        self._generations = live.answers.generations
        self._setup = setup
        self.options: Options = EventStream((), **setup.options).options

    def add_to(self, addresses: dict[str, Address]) -> None:
        """Add the addresses that clients come back to."""

        def add(key: str, dialect: Dialect, method: str, act: Act) -> None:
            async def act_and_tell(client: Client, name: str) -> None:
                with self.told():
                    await act(client, name)

            addresses.setdefault(key, Address(dialect, {})).acts[method] = act_and_tell

        add("chat", AI_SDK, "GET", self._show_chat)
        add("stop_chat", AI_SDK, "POST", self._stop_chat)
        add("ag-ui", AG_UI, "GET", self._show_wanted_run)
        add("stop_run", AG_UI, "POST", self._stop_run)
        add("response", RESPONSES, "GET", self._show_wanted_response)
        add("cancel_response", RESPONSES, "POST", self._cancel_response)

    # AI SDK: a chat, of which the last message may run

    async def _show_chat(self, client: Client, name: str) -> None:
        key = await self._generations.log.labelled(client.key_of("chat", name))
        head = None if key is None else await self._generations.look(key)
        if key is None or head is None or head.ending is not None:
            await _NOTHING.send(client)
        else:
            await self.follow(key, head, WORDS_OF_CHATS, client)

    async def _stop_chat(self, client: Client, name: str) -> None:
        key = await self._generations.log.labelled(client.key_of("chat", name))
        await self._stop(client, key or "")

    # AG-UI: a run

    async def _show_wanted_run(self, client: Client, _: str) -> None:
        query = client.request.query_params
        if not query.get("runId"):
            raise InvalidRequestError("runId", "'runId' is missing: it must be a string.")
        if query.get("offset", "-1") != "-1":
            message = "'offset' must be -1: a 'Last-Event-ID' tells where to go on."
            raise InvalidRequestError("offset", message)
        await self.show_run(client, client.key_of("run", query["runId"]))

    async def show_run(self, client: Client, key: str) -> None:
        """Send a run, from where the client says."""
        head = await self._generations.find(key, owner=client.owner)
        after = position_of(client.cursor, head.token)
        await self.follow(key, head, WORDS_OF_RUNS, client, after=after)

    async def _stop_run(self, client: Client, name: str) -> None:
        await self._stop(client, client.key_of("run", name))

    async def _stop(self, client: Client, key: str) -> None:
        head = await self._generations.find(key, owner=client.owner)
        await self._generations.stop(key, head)
        await _NOTHING.send(client)

    # OpenAI: a response in the background

    async def _show_wanted_response(self, client: Client, name: str) -> None:
        query = client.request.query_params
        streams = query.get("stream", "false")
        if streams not in ("true", "false"):
            raise InvalidRequestError("stream", "'stream' must be true or false.")
        number = _number_in(query)
        await self.show_response(client, name, streams=streams == "true", number=number)

    async def show_response(
        self, client: Client, name: str, *, streams: bool, number: int | None = None
    ) -> None:
        """Send a response: the object, or the events after one's number."""
        head = await self._find_response(client, name)
        response = await read_response(self._generations, name, head)
        if streams:
            await self.follow(name, head, words_of_response(response), client, number=number)
        else:
            await json_answer(response).send(client)

    async def _cancel_response(self, client: Client, name: str) -> None:
        """Stop a response, wait a little for its end, and send the object."""
        head = await self._find_response(client, name)
        await self._generations.stop(name, head)
        with suppress(TimeoutError):
            async with asyncio.timeout(CANCELLING):
                await wait_for_end(self._generations, name, head)
        await self.show_response(client, name, streams=False)

    async def _find_response(self, client: Client, name: str) -> Head:
        head = await self._generations.find(name, owner=client.owner)
        if meta_of(head).framing != Responses.__qualname__:
            raise UnknownGenerationError("this generation is no response")
        return head

    # All of them

    async def follow(
        self,
        key: str,
        head: Head,
        words: Words,
        client: Client,
        *,
        after: int = 0,
        number: int | None = None,
        started: Generation | None = None,
    ) -> None:
        """Send a generation to its end.

        Args:
            key: What the log calls it.
            head: What the log says of it.
            words: The client's dialect.
            client: The client.
            after: The position that the client has reached.
            number: The number of the last event that it has seen, if it knows that instead.
            started: The generation, if this client asked for its start.
        """
        if number is not None:
            after = number + 1
        blocks = self._generations.view(key, head, after)
        if number is not None:
            blocks = after_number(blocks, number)
        is_first = started is not None and started.started
        relay = Relay(
            self._setup,
            self.options,
            words,
            client,
            started=started if is_first else None,
            has_ended=has_seen_all(head, after),
        )
        await relay.run(blocks, self._answers.options_for(key, head))

    @contextmanager
    def told(self) -> Generator[None]:
        """Raise what the client may know of an error of `Live`, in its place.

        Raises:
            ChatError: There is no such generation, or the log does not answer.
        """
        try:
            yield
        except UnknownGenerationError:
            raise ChatError(404, "There is no such answer.", code="not_found") from None
        except LogError as error:
            self._generations.outage.note(error)
            later = 5.0 if isinstance(error, LogUnavailableError) else None
            raise ChatError(503, "Answers are out of reach.", retry_after=later) from error


def _number_in(query: dict[str, str]) -> int | None:
    given = query.get("starting_after")
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 16):
        message = "'starting_after' must be the sequence_number of an event."
        raise InvalidRequestError("starting_after", message)
    return int(given)
