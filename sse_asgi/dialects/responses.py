"""OpenAI's Responses API, as events, with the rules of Open Responses.

https://platform.openai.com/docs/api-reference/responses-streaming and https://www.openresponses.org
"""

import time
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass

from sse_asgi.dialects import response_object as objects
from sse_asgi.dialects.decoder import (
    DialectDecoder,
    Item,
    Object,
    failure,
    make_call,
    make_usage,
    object_in,
    text_in,
)
from sse_asgi.dialects.encoder import (
    DONE,
    HOLE,
    NUMBER,
    DialectEncoder,
    Kind,
    cut_at,
    json_string,
    pieces,
    typed_event,
)
from sse_asgi.dialects.options import ModelFraming
from sse_asgi.errors import shown
from sse_asgi.wire.events import well_formed
from sse_asgi.wire.failure import code_of, type_of
from sse_asgi.wire.names import make_id
from sse_asgi.wire.outcome import Outcome
from sse_asgi.wire.parts import Finish, Reasoning, ToolCall

_ITEM_PREFIXES: dict[Kind, str] = {"text": "msg_", "reasoning": "rs_"}


@dataclass(frozen=True, slots=True)
class Responses(ModelFraming):
    """Speak to the clients of OpenAI's Responses API, and of Open Responses.

    A stream is complete once `response.completed` or `response.incomplete` has come; `[DONE]`
    follows. Reasoning travels as a summary. Why a response finished is told by its status, so a
    reason that OpenAI does not know is lost. One that was stopped is incomplete, and its status is
    "cancelled". The encoder keeps the text: the last event repeats all of it.

    Attributes:
        model: The model's name.
        id: The response's id; each stream has one of its own if none is given.
        background: Whether the client asked for an answer in the background; the response says so.

    Raises:
        TypeError: An option is of another type.
        ValueError: An option is empty.
    """

    _: KW_ONLY
    background: bool = False

    def __post_init__(self) -> None:
        ModelFraming.__post_init__(self)  # `super` does not work in a class with slots
        if not isinstance(self.background, bool):
            raise TypeError(f"background must be True or False, not {shown(self.background)}")

    def encoder(self) -> DialectEncoder:
        """Return an encoder for one stream."""
        return _Encoder(self)

    def decoder(self) -> DialectDecoder:
        """Return a function that reads one stream, of any server."""
        return _Decoder()


class _Encoder(DialectEncoder):
    __slots__ = (
        "_background",
        "_created_at",
        "_id",
        "_item_id",
        "_last_status",
        "_model",
        "_number",
        "_output",
        "_rest",
        "_texts",
    )

    def __init__(self, framing: Responses) -> None:
        super().__init__()
        self._background = framing.background
        self._id = framing.id or make_id("resp_")
        self._model = framing.model
        self._created_at = int(time.time())
        self._number = 0
        self._output: list[objects.Object] = []  # the items that are whole
        self._item_id = ""
        self._texts: list[str] = []  # of the item that is open
        self._rest = ""  # of a delta, after its number
        self._last_status = "completed"  # of the item that is closed next

    def begin(self) -> bytes:
        created = self._event("created", response=self._response("in_progress"))
        return created + self._event("in_progress", response=self._response("in_progress"))

    def end(self, outcome: Outcome = Outcome.COMPLETED) -> bytes:
        status, details = objects.status_of(self._finish_reason(outcome))
        if outcome is Outcome.STOPPED:
            status, details = "cancelled", {}
        kind = self._last_status = "completed" if status == "completed" else "incomplete"
        closing = self._leave()
        response = self._response(
            status,
            **details,
            completed_at=int(time.time()) if kind == "completed" else None,
            usage=objects.usage_object(self._usage, self._total_tokens),
        )
        return closing + self._event(kind, response=response) + DONE

    def fail(self, message: str, outcome: Outcome) -> bytes:  # noqa: ARG002 - one error for all
        error = {"code": code_of(message) or "server_error", "message": message}
        nested = {"type": type_of(message, "server_error"), **error, "param": None}
        told = typed_event({"type": "error", "error": nested, "sequence_number": self._next()})
        failed = self._event("failed", response=self._response("failed", error=error))
        return told + failed + DONE

    def _open(self, kind: Kind) -> tuple[bytes, bytes]:
        self._item_id = make_id(_ITEM_PREFIXES[kind])
        self._texts = []
        part, where = self._content(kind, "")
        opening = self._item_event("added", self._item(kind, "in_progress", []))
        opening += self._event(f"{where}_part.added", **self._place(kind), part=part)
        delta = self._delta_fields(kind)
        return opening, typed_event({**delta, "delta": HOLE, "sequence_number": NUMBER})

    def _enter(self, kind: Kind) -> bytes:
        opening = super()._enter(kind)
        self._tail, self._rest = cut_at(NUMBER, self._tail)
        return opening

    def _delta(self, text: str) -> bytes:
        string = json_string(text)
        try:
            event = f"{self._head}{string}{self._tail}{self._number}{self._rest}".encode()
        except UnicodeEncodeError:
            return self._delta(well_formed(text))
        self._number += 1
        self._texts.append(text)
        return event

    def _close(self, kind: Kind) -> bytes:
        text = "".join(self._texts)
        part, where = self._content(kind, text)
        item = self._item(kind, self._last_status, [part])
        place = self._place(kind)
        if kind == "text":
            closing = self._event("output_text.done", **place, text=text, logprobs=[])
        else:
            closing = self._event("reasoning_summary_text.done", **place, text=text)
        closing += self._event(f"{where}_part.done", **place, part=part)
        closing += self._item_event("done", item)
        self._output.append(item)
        self._texts = []
        return closing

    def _call(self, call: ToolCall) -> bytes:
        self._item_id = make_id("fc_")
        item: objects.Object = {
            "id": self._item_id,
            "type": "function_call",
            "status": "completed",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
        }
        place = {"item_id": self._item_id, "output_index": len(self._output)}
        kind = "function_call_arguments"
        events = [self._item_event("added", {**item, "status": "in_progress", "arguments": ""})]
        events += [self._event(f"{kind}.delta", **place, delta=p) for p in pieces(call.arguments)]
        events.append(
            self._event(f"{kind}.done", **place, name=call.name, arguments=call.arguments)
        )
        events.append(self._item_event("done", item))
        self._output.append(item)
        return b"".join(events)

    def _event(self, kind: str, **fields: object) -> bytes:
        return typed_event({"type": f"response.{kind}", **fields, "sequence_number": self._next()})

    def _item_event(self, what: str, item: objects.Object) -> bytes:
        return self._event(f"output_item.{what}", output_index=len(self._output), item=item)

    def _next(self) -> int:
        number = self._number
        self._number = number + 1
        return number

    def _response(self, status: str, **changed: object) -> objects.Object:
        return objects.response_object(
            self._id,
            model=self._model,
            created_at=self._created_at,
            status=status,
            output=self._output,
            background=self._background,
            store=self._background,
            **changed,
        )

    def _item(self, kind: Kind, status: str, parts: list[objects.Object]) -> objects.Object:
        if kind == "text":
            return objects.message_item(self._item_id, status, parts)
        return objects.reasoning_item(self._item_id, parts)

    def _content(self, kind: Kind, text: str) -> tuple[objects.Object, str]:
        if kind == "text":
            return objects.text_part(text), "content"
        return objects.summary_part(text), "reasoning_summary"

    def _place(self, kind: Kind) -> dict[str, object]:
        index = "content_index" if kind == "text" else "summary_index"
        return {"item_id": self._item_id, "output_index": len(self._output), index: 0}

    def _delta_fields(self, kind: Kind) -> dict[str, object]:
        if kind == "text":
            return {"type": "response.output_text.delta", **self._place(kind), "logprobs": []}
        return {"type": "response.reasoning_summary_text.delta", **self._place(kind)}


class _Decoder(DialectDecoder):
    dialect = "OpenAI's Responses"

    def __init__(self) -> None:
        super().__init__()
        self._has_calls = False

    def _knows(self, value: Object) -> bool:
        kind = text_in(value, "type")
        return kind.startswith("response.") or kind in ("error", "keepalive")

    def _read(self, value: Object) -> Iterator[Item]:
        match value.get("type"):
            case "response.output_text.delta" | "response.refusal.delta":
                yield text_in(value, "delta")
            case (
                "response.reasoning_text.delta"
                | "response.reasoning.delta"
                | "response.reasoning_summary_text.delta"
            ) if text_in(value, "delta"):
                yield Reasoning(text_in(value, "delta"))
            case "response.output_item.done":
                yield from self._read_item(object_in(value, "item"))
            case "response.completed" | "response.incomplete" | "response.cancelled":
                yield from self._read_end(object_in(value, "response"))
            case "response.failed":
                raise failure(object_in(value, "response"))
            case "error":
                raise failure(value)
            case _:
                pass

    def _read_item(self, item: Object) -> Iterator[Item]:
        # One that was cut is no call.
        if item.get("type") == "function_call" and item.get("status") != "incomplete":
            self._has_calls = True
            call_id = text_in(item, "call_id", "id")
            yield make_call(text_in(item, "name"), text_in(item, "arguments"), call_id)

    def _read_end(self, response: Object) -> Iterator[Item]:
        yield Finish(objects.reason_of(response, has_calls=self._has_calls))
        yield from make_usage(object_in(response, "usage"), "input_tokens", "output_tokens")
        yield None
