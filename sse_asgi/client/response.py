"""What a response means to a client of event streams (HTML 9.2.2 and 9.2.3)."""

import re
from collections.abc import Collection
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sse_asgi.client.http import HeaderFields

EVENT_STREAM = "text/event-stream"

TEMPORARY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which a client connects again. The standard has none such: to it all are final."""

_NAME = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_ESSENCE = re.compile(rf"[ \t\r\n]*({_NAME}/{_NAME})[ \t\r\n]*(?:;.*)?", re.DOTALL)
_PART = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)

_REMEDIES = {
    **dict.fromkeys((401, 403, 407), "check the credentials in the headers"),
    **dict.fromkeys((404, 410), "check the path"),
    **dict.fromkeys((400, 405, 413, 415, 422), "check the method and the body"),
    **dict.fromkeys((429, 503), "try again later"),
}


class Verdict(Enum):
    """What to do with a response."""

    OPEN = auto()
    """Read its events."""
    FINISHED = auto()
    """Stop for good: the server says that there is no more (204)."""
    TEMPORARY = auto()
    """Connect again later."""
    REFUSED = auto()
    """Fail: neither this response nor another one will do."""


def judge(status: int, content_type: str, *, temporary: Collection[int]) -> Verdict:
    """Tell what to do with a response.

    Args:
        status: Its status.
        content_type: The essence of its content type.
        temporary: The statuses after which to connect again.
    """
    if status == 200:
        return Verdict.OPEN if content_type == EVENT_STREAM else Verdict.REFUSED
    if status == 204:
        return Verdict.FINISHED
    return Verdict.TEMPORARY if status in temporary else Verdict.REFUSED


def media_type(headers: "HeaderFields") -> str:
    """Return the essence of the content type in lower case, "" where there is none that is valid.

    By "extract a MIME type" of the Fetch standard: of several values the last valid one counts,
    parameters do not, nor does the case.
    """
    found = ""
    for part in _PART.findall(", ".join(headers.get_list("content-type"))):
        essence = _ESSENCE.fullmatch(part)
        if essence and essence[1] != "*/*":
            found = essence[1].lower()
    return found


def explain(status: int, headers: "HeaderFields", url: str) -> str:
    """Say why a response is refused for its status or content type, and what may help."""
    content_type = media_type(headers)
    found = f"the content type {content_type}" if content_type else "no content type"
    return (
        f"{url} answered with status {status} and {found}; an event stream has 200 and "
        f"{EVENT_STREAM}: {_remedy(status, content_type, headers)}"
    )


def _remedy(status: int, content_type: str, headers: "HeaderFields") -> str:
    if status == 200 and content_type == "text/html":
        return "this is a page; check the path, and the credentials in the headers"
    if status == 200 and content_type == "application/json":
        return "check the path, and that the request asks for a stream"
    if status == 200:
        return f"have the server send content-type: {EVENT_STREAM}"
    if 300 <= status < 400 and headers.get_list("location"):
        return "have your client follow redirects, or ask for the location that it names"
    if 300 <= status < 400:
        return "a redirect must name a location"
    return _REMEDIES.get(status, "see the server's log")
