"""Lasting answers: those that go on in `Live` without their client, which comes back for them."""

import asyncio
import secrets
from typing import Final
from weakref import WeakValueDictionary

from sse_asgi.chat.chat import Chat
from sse_asgi.chat.client import Client
from sse_asgi.chat.dialects import Order
from sse_asgi.chat.error import ChatError
from sse_asgi.chat.relay import WORDS_OF_CHATS, WORDS_OF_RUNS, Words
from sse_asgi.chat.resuming import Resuming
from sse_asgi.chat.setup import Setup
from sse_asgi.errors import LogError
from sse_asgi.live import Generation, Live
from sse_asgi.live.source import Attended
from sse_asgi.wire.framing import Framing

LABEL_KEEP: Final = 86_400.0
"""Seconds for which a chat's id names its last message."""


class LastingAnswers:
    """Starts generations for clients.

    Args:
        live: Where they run.
        setup: What the user gave to the `ChatApp`.
        resuming: Sends them.
    """

    def __init__(self, live: Live, setup: Setup, resuming: Resuming) -> None:
        self._live = live
        self._generations = live.answers.generations
        self._setup = setup
        self._resuming = resuming
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._options = resuming.options

    async def answer(self, order: Order, chat: Chat, framing: Framing, client: Client) -> None:
        """Start what a client asks for, unless it runs already, and send it.

        Raises:
            ChatError: It is not to be had, or has failed before its first chunk.
        """
        name = order.named or ""
        with self._resuming.told():
            if chat.dialect == "ui_messages":
                await self._answer_chat(name, chat, framing, client)
            elif chat.dialect == "ag_ui":
                await self._answer_run(client.key_of("run", name), chat, framing, client)
            else:
                await self._start(name, chat, framing, client, at_once=True)
                streams = order.whole is None
                await self._resuming.show_response(client, name, streams=streams)

    async def _answer_chat(self, name: str, chat: Chat, framing: Framing, client: Client) -> None:
        """Start the next message of a chat. From now on the chat's id names it."""
        generation = await self._start(secrets.token_urlsafe(16), chat, framing, client)
        try:
            label = client.key_of("chat", name)
            await self._generations.log.label(label, generation.id, keep=LABEL_KEEP)
        except LogError as error:  # it runs; that nobody can come back for it is no reason to fail
            self._generations.outage.note(error)
        await self._follow(generation, WORDS_OF_CHATS, client)

    async def _answer_run(self, key: str, chat: Chat, framing: Framing, client: Client) -> None:
        """Start a run. Nothing is started for a client that comes back."""
        if client.cursor:
            generation = None
        elif self._setup.is_limited:
            generation = await self._start_or_join(key, chat, framing, client)
        else:
            generation = await self._start(key, chat, framing, client)
        if generation is None:
            await self._resuming.show_run(client, key)
        else:
            await self._follow(generation, WORDS_OF_RUNS, client)

    async def _follow(self, generation: Generation, words: Words, client: Client) -> None:
        head = await self._generations.find(generation.id, owner=client.owner)
        await self._resuming.follow(generation.id, head, words, client, started=generation)

    async def _start_or_join(
        self, key: str, chat: Chat, framing: Framing, client: Client
    ) -> Generation | None:
        """Start a run; None if it runs already, for whoever joins one needs no place.

        Those who ask for the same run do so one after the other: the first has the place.
        """
        async with self._turns.setdefault(key, asyncio.Lock()):
            if await self._generations.look(key) is not None:
                return None
            try:
                return await self._start(key, chat, framing, client)
            except ChatError:  # no place: another process may have begun the run with it
                if await self._generations.look(key) is None:
                    raise
                return None

    async def _start(
        self, key: str, chat: Chat, framing: Framing, client: Client, *, at_once: bool = False
    ) -> Generation:
        place = await self._setup.place(chat)
        try:
            return await self._live.start(
                Attended(lambda: self._setup.generate(chat), place, self._setup.watch(chat)),
                id=key,
                owner=client.owner,
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
