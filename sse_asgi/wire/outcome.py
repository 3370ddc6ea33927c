"""How a stream ended. Encoders are told of it, and transcripts keep it."""

from enum import StrEnum


class Outcome(StrEnum):
    """How a stream ended, in one word.

    `COMPLETED`: the source ended by itself and everything was handed to the server.
    `DISCONNECTED`: the client left.
    `FAILED`: the source, a hook, or the server's `send` raised.
    `TIMED_OUT`: one `send` took longer than `send_timeout`.
    `SHUT_DOWN`: the server was told to stop, or cancelled the request.
    `STOPPED`: a live generation was stopped on request.
    """

    COMPLETED = "completed"
    DISCONNECTED = "disconnected"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    SHUT_DOWN = "shut_down"
    STOPPED = "stopped"


# A member is slow to look up in its class: in Python 3.11 it takes a thousand instructions.
COMPLETED, DISCONNECTED, FAILED, TIMED_OUT, SHUT_DOWN, STOPPED = Outcome
