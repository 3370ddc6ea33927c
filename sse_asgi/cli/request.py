"""The request of the commands that connect to a URL."""

import argparse
import json
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sse_asgi.cli.options import CommandError, Parser, is_installed


def add_request(parser: Parser) -> None:
    """Add the URL and what else makes the request."""
    parser.add_argument("url", metavar="URL", type=_url, help="the stream's URL")
    parser.add_argument("-X", "--method", help="method (default: GET, with a body POST)")
    many: dict[str, Any] = {"action": "append", "default": [], "type": _header}
    field = "a header field; may be repeated"
    parser.add_argument("-H", "--header", metavar="'NAME: VALUE'", help=field, **many)
    body = "a JSON body, which makes the request a POST; @FILE takes it from a file"
    parser.add_argument("--json-body", type=_json, metavar="JSON", help=body)


def request_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return method, headers and content."""
    body: bytes | None = options.json_body
    headers: list[tuple[str, str]] = list(options.header)
    if body is not None and "content-type" not in {name.lower() for name, _ in headers}:
        headers.append(("Content-Type", "application/json"))
    method: str = options.method or ("GET" if body is None else "POST")
    return {"method": method.upper(), "headers": headers, "content": body}


def import_client() -> Any:  # noqa: ANN401 - whichever is there
    """Import httpx, or httpx2 where only that is installed; a `CommandError` says how to."""
    for name in ("httpx", "httpx2"):
        if is_installed(name):
            return import_module(name)
    raise CommandError('needs httpx: pip install "sse-asgi[client]"')


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
    try:
        text = Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text
        json.loads(text)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot read {text[1:]!r}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"the body is no JSON: {error}") from error
    return text.encode()
