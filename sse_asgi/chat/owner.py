"""Whose an answer is that outlives its client, and what the log calls it."""

import json
from base64 import urlsafe_b64encode
from hashlib import sha256
from uuid import UUID

from sse_asgi.errors import shown


def owner_of(principal: object) -> str | None:
    """Return the name of who asks; `None` where nobody is told from anybody else.

    The name is kept with the answer, and compared in other processes. So it must not change from
    one request to the next.

    Raises:
        TypeError: `authorize` returned something that may change.
    """
    if principal is None or principal is True:
        return None
    if isinstance(principal, (str, int, UUID)):
        return str(principal)
    raise TypeError(
        f"with live, authorize must return the user's id, a str, an int or a UUID, not "
        f"{shown(type(principal))}: an answer is kept under it; look up more in the generator"
    )


def key_of(kind: str, owner: str | None, name: str) -> str:
    """Return what the log calls something that a client has named: of any text, and of any length.

    Args:
        kind: What it is, in letters.
        owner: Who named it; the same name of somebody else is another one.
        name: The client's name for it.
    """
    named = json.dumps([owner, name]).encode()
    return f"{kind}-{urlsafe_b64encode(sha256(named).digest()).decode().rstrip('=')}"
