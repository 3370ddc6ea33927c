"""Lasting answers: those that go on without their client, which comes back for them."""

import asyncio
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final
from weakref import WeakValueDictionary

from sse_asgi.app import EventStream
from sse_asgi.chat.answer import json_answer
from sse_asgi.chat.chat import Chat
from sse_asgi.chat.client import Client
from sse_asgi.chat.dialect import Order
from sse_asgi.chat.error import ChatError
from sse_asgi.chat.owner import key_of, owner_of
from sse_asgi.chat.relay import Relay
from sse_asgi.chat.response_state import after_number, read_response, wait_for_end
from sse_asgi.chat.setup import Setup
from sse_asgi.chat.words import AGUIWords, ResponsesWords, UIMessagesWords, Words
from sse_asgi.dialects import Responses
from sse_asgi.errors import LogError, LogUnavailableError, UnknownGenerationError
from sse_asgi.live import Generation, Head, Live
from sse_asgi.live.events import has_seen_all, position_of
from sse_asgi.live.record import meta_of
from sse_asgi.live.source import Attended
from sse_asgi.wire.framing import Framing

LABEL_KEEP: Final = 86_400.0
"""Seconds for which a chat's id names its last message."""

CANCELLING: Final = 5.0
"""Seconds for which `cancel` waits for the end, to answer with it."""

AI_SDK: Final = UIMessagesWords()
AG_UI: Final = AGUIWords()


class LastingAnswers:
    """Starts generations for clients, and gives them back to those who come again.

    Args:
        live: Where they run.
        setup: What the user gave to the `ChatApp`.

    Raises:
        TypeError: `live` is no `Live`.
    """

    def __init__(self, live: Live, setup: Setup) -> None:
        if not isinstance(live, Live):
            raise TypeError(f"live must be a Live or None, not of type {type(live).__qualname__}")
        self._live = live
        self._answers = live.answers
        self._generations = live.answers.generations
        self._setup = setup
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._options = EventStream((), **setup.options).options

    async def answer(self, order: Order, chat: Chat, framing: Framing, client: Client) -> None:
        """Start what a client asks for, unless it runs already, and send it.

        Raises:
            ChatError: It is not to be had, or has failed before its first chunk.
        """
        owner, name = owner_of(chat.principal), order.named or ""
        with self.told():
            if chat.dialect == "ui_messages":
                await self._answer_chat(name, owner, chat, framing, client)
            elif chat.dialect == "ag_ui":
                await self._answer_run(name, owner, chat, framing, client)
            else:
                await self._start(name, owner, chat, framing, at_once=True)
                await self.show_response(name, owner, client, streams=order.whole is None)

    async def _answer_chat(
        self, name: str, owner: str | None, chat: Chat, framing: Framing, client: Client
    ) -> None:
        """Start the next message of a chat. From now on the chat's id names it."""
        generation = await self._start(secrets.token_urlsafe(16), owner, chat, framing)
        try:
            label = key_of("chat", owner, name)
            await self._generations.log.label(label, generation.id, keep=LABEL_KEEP)
        except LogError as error:  # it runs; that nobody can come back for it is no reason to fail
            self._generations.outage.note(error)
        head = await self._generations.find(generation.id, owner=owner)
        await self._follow(generation.id, head, AI_SDK, client, started=generation)

    async def _answer_run(
        self, name: str, owner: str | None, chat: Chat, framing: Framing, client: Client
    ) -> None:
        """Start a run. Nothing is started for a client that comes back."""
        key = key_of("run", owner, name)
        if client.cursor:
            await self.show_run(key, owner, client)
            return
        if self._setup.is_limited:
            generation = await self._start_or_join(key, owner, chat, framing)
        else:
            generation = await self._start(key, owner, chat, framing)
        if generation is None:
            await self.show_run(key, owner, client)
            return
        head = await self._generations.find(key, owner=owner)
        await self._follow(key, head, AG_UI, client, started=generation)

    async def _start_or_join(
        self, key: str, owner: str | None, chat: Chat, framing: Framing
    ) -> Generation | None:
        """Start a run; None if it runs already, for whoever joins one needs no place.

        Those who ask for the same run do so one after the other: the first has the place.
        """
        async with self._turns.setdefault(key, asyncio.Lock()):
            if await self._generations.look(key) is not None:
                return None
            try:
                return await self._start(key, owner, chat, framing)
            except ChatError:  # no place: another process may have begun the run with it
                if await self._generations.look(key) is None:
                    raise
                return None

    async def _start(
        self, key: str, owner: str | None, chat: Chat, framing: Framing, *, at_once: bool = False
    ) -> Generation:
        place = await self._setup.place(chat)
        try:
            return await self._live.start(
                Attended(lambda: self._setup.generate(chat), place, self._setup.watch(chat)),
                id=key,
                owner=owner,
                framing=framing,
                on_chunk=self._options.chunk_hook(chat.request),
                on_complete=self._setup.for_hook(chat),
                describe_error=self._options.describe_error,
                coalesce=self._options.coalesce,
                at_once=at_once,
            )
        except Exception:
            if place is not None:  # nothing runs, or not for long
                place.release()
            raise

    # For those who come back. Each raises UnknownGenerationError, or what the log does.

    async def show_chat(self, name: str, owner: str | None, client: Client) -> bool:
        """Send the message of a chat that runs, from its start; tell whether one does."""
        key = await self._generations.log.labelled(key_of("chat", owner, name))
        head = None if key is None else await self._generations.look(key)
        if key is None or head is None or head.ending is not None:
            return False
        await self._follow(key, head, AI_SDK, client)
        return True

    async def stop_chat(self, name: str, owner: str | None) -> None:
        """Stop the message of a chat that runs, if one does."""
        key = await self._generations.log.labelled(key_of("chat", owner, name))
        await self.stop(key or "", owner)

    async def show_run(self, key: str, owner: str | None, client: Client) -> None:
        """Send a run, from where the client says."""
        head = await self._generations.find(key, owner=owner)
        await self._follow(key, head, AG_UI, client, after=position_of(client.cursor, head.token))

    async def stop(self, key: str, owner: str | None) -> Head:
        """Stop a generation, if it runs; return what was known of it."""
        head = await self._generations.find(key, owner=owner)
        await self._generations.stop(key, head)
        return head

    async def show_response(
        self,
        name: str,
        owner: str | None,
        client: Client,
        *,
        streams: bool,
        number: int | None = None,
    ) -> None:
        """Send a response: the object, or the events after one's number."""
        head = await self._find_response(name, owner)
        response = await read_response(self._generations, name, head)
        if streams:
            await self._follow(name, head, ResponsesWords(response), client, number=number)
        else:
            await json_answer(response).send(client.send, self._setup.headers)

    async def cancel_response(self, name: str, owner: str | None, client: Client) -> None:
        """Stop a response, wait a little for its end, and send the object."""
        head = await self._find_response(name, owner)
        await self._generations.stop(name, head)
        with suppress(TimeoutError):
            async with asyncio.timeout(CANCELLING):
                await wait_for_end(self._generations, name, head)
        await self.show_response(name, owner, client, streams=False)

    async def _find_response(self, name: str, owner: str | None) -> Head:
        head = await self._generations.find(name, owner=owner)
        if meta_of(head).framing != Responses.__qualname__:
            raise UnknownGenerationError("this generation is no response")
        return head

    async def _follow(
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
        if number is not None:
            after = number + 1
        blocks = self._generations.view(key, head, after)
        if number is not None:
            blocks = after_number(blocks, number)
        is_first = started is not None and started.started
        relay = Relay(
            self._setup,
            self._options,
            words,
            started=started if is_first else None,
            has_ended=has_seen_all(head, after),
        )
        viewers = self._answers.options_for(key, head)
        await relay.run(blocks, viewers, client.scope, client.receive, client.send)

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
