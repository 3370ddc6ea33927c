"""The request of the commands that connect to a URL."""

import argparse
import json
import math
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sse_asgi.cli.errors import CommandError


def add_request(parser: argparse.ArgumentParser) -> None:
    """Add the URL and what else makes the request."""
    parser.add_argument("url", metavar="URL", type=_url, help="the stream's URL")
    parser.add_argument("-X", "--method", help="method (default: GET, with a body POST)")
    parser.add_argument(
        "-H",
        "--header",
        action="append",
        default=[],
        type=_header,
        metavar="'NAME: VALUE'",
        help="a header field; may be repeated",
    )
    parser.add_argument(
        "--json-body",
        type=_json,
        metavar="JSON",
        help="a JSON body, which makes the request a POST; @FILE takes it from a file",
    )


def request_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the request as options of `EventSource` and its request."""
    body: bytes | None = options.json_body
    headers: list[tuple[str, str]] = list(options.header)
    if body is not None and "content-type" not in {name.lower() for name, _ in headers}:
        headers.append(("Content-Type", "application/json"))
    method = options.method or ("GET" if body is None else "POST")
    return {"method": method.upper(), "headers": headers, "content": body}


def require_client() -> None:
    """Check that an HTTP client is installed.

    Raises:
        CommandError: If none is; the message has the command that installs one.
    """
    from sse_asgi.client.request import make_client  # noqa: PLC0415 - the others need none

    try:
        make_client("Client")
    except ImportError as error:
        raise CommandError(str(error)) from error


def seconds(text: str) -> float:
    """Read an option that is a number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds greater than 0")
    return value


def _url(text: str) -> str:
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise argparse.ArgumentTypeError(f"{text!r} is no URL of http or https")
    return url


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is no header: write 'NAME: VALUE'")
    return name.strip(), value.strip()


def _json(text: str) -> bytes:
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            raise argparse.ArgumentTypeError(f"cannot read {text[1:]!r}: {error}") from error
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"the body is no JSON: {error}") from error
    return text.encode()
