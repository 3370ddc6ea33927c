"""What the demo reads of a request, and how it refuses one."""

import json
import os
import re

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

LONGEST_PROMPT = 4_000
"""Characters that a prompt may have."""

_LARGEST_BODY = 64 * 1024


class RefusedError(Exception):
    """A request cannot be answered; the message is for the page."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def refuse(_: Request, error: Exception) -> Response:
    """Answer what was refused, or cannot be had."""
    if not isinstance(error, RefusedError):
        return JSONResponse({"message": "Redis is out of reach"}, status_code=503)
    # 421: the page asks for another worker, and the next connection may lead to it.
    headers = {"connection": "close"} if error.status == 421 else None
    return JSONResponse({"message": str(error)}, status_code=error.status, headers=headers)


def matched(pattern: re.Pattern[str], request: Request) -> str:
    """Return the id in the path, or refuse it."""
    id_: str = request.path_params["id"]
    if not pattern.fullmatch(id_):
        raise RefusedError(404, "the id of a generation is 32 hexadecimal digits")
    return id_


def check_worker(request: Request) -> None:
    """Refuse what the page means for another process."""
    wanted = request.query_params.get("worker") or str(os.getpid())
    if wanted != str(os.getpid()):
        raise RefusedError(421, f"this is not worker {wanted}")


def check_json(request: Request) -> None:
    """Refuse what another site's page can send without asking first: every other content type."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise RefusedError(415, "send the body as application/json")


def read_cursors(request: Request) -> dict[str, str]:
    """Where the last connection of the page ended, by the id of its last event."""
    try:
        value = json.loads(request.headers.get("last-event-id", "{}"))
        return {str(key): str(cursor) for key, cursor in value.items()}
    except (ValueError, AttributeError, RecursionError):
        return {}


async def read_prompt(request: Request) -> str:
    """Return the prompt in the JSON body, or refuse it."""
    check_json(request)
    try:
        prompt = json.loads(await _read_body(request))["prompt"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise RefusedError(400, 'send a JSON object such as {"prompt": "Hello"}') from error
    if not isinstance(prompt, str) or len(prompt) > LONGEST_PROMPT:
        raise RefusedError(400, f"a prompt is a string of at most {LONGEST_PROMPT} characters")
    return prompt


async def _read_body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST_BODY:
            raise RefusedError(413, f"the body is larger than {_LARGEST_BODY} bytes")
    return body
