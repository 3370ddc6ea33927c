"""Findings about the answer: connection, status and header fields."""

from sse_asgi.cli.doctor.examine import is_local
from sse_asgi.cli.doctor.findings.finding import Finding, seconds
from sse_asgi.cli.doctor.observation import Examination, Exchange, Stop


def unreachable(examination: Examination) -> Finding | None:
    """No response, because no connection."""
    first = examination.first
    if first.stop is not Stop.NO_CONNECTION:
        return None
    return Finding(
        "unreachable",
        "The server cannot be reached",
        first.error,
        "check the URL, that the server runs, and what is in front of it",
    )


def no_response(examination: Examination) -> Finding | None:
    """Not even a status."""
    first = examination.first
    if first.stop is not Stop.NO_RESPONSE:
        return None
    return Finding(
        "no-response",
        "The response does not start",
        f"no status line within {seconds(examination.wait)}",
        "send the header fields before the first event is ready (sse_asgi does); if the app does, "
        "a proxy holds the response back: turn its buffering off (nginx: proxy_buffering off)",
    )


def status(examination: Examination) -> Finding | None:
    """A status that is not a stream's."""
    first = examination.first
    if first.status in (0, 200):
        return None
    meaning = "to a browser that means: stop for good" if first.status == 204 else ""
    return Finding(
        "status",
        "The status is not 200",
        f"{first.method} {first.url} answered {first.status}"
        + (f"; {meaning}" if meaning else "; a browser's EventSource gives up at once"),
        "see the server's log"
        if first.status >= 500
        else "check the path, the method and the credentials (-H 'Authorization: ...'); answer 200",
    )


def content_type(examination: Examination) -> Finding | None:
    """A content type that no client of event streams takes."""
    first = examination.first
    if first.status != 200 or first.is_stream:
        return None
    value = first.get("content-type")
    return Finding(
        "content-type",
        "The content type is not text/event-stream",
        f"content-type: {value}" if value else "there is no content-type",
        "send content-type: text/event-stream; a browser's EventSource gives up without it",
    )


def charset(examination: Examination) -> Finding | None:
    """A charset that promises something else than UTF-8."""
    value = examination.first.get("content-type")
    _, separator, parameter = value.lower().partition("charset=")
    name = parameter.partition(";")[0].strip(" \"'")
    if not separator or name in ("utf-8", "utf8"):
        return None
    return Finding(
        "charset",
        "The content type names another encoding than UTF-8",
        f"content-type: {value}",
        "event streams are always UTF-8, whatever this says: encode so, and write charset=utf-8",
    )


def redirects(examination: Examination) -> Finding | None:
    """Redirects, which every reconnection has to follow anew."""
    hops = examination.first.redirects
    if not hops:
        return None
    chain = ", ".join(f"{hop.status} to {hop.location}" for hop in hops)
    return Finding(
        "redirect",
        "The stream is behind a redirect",
        f"{chain}; the answer came to {examination.first.method} {examination.first.url}",
        "give clients the final URL: every connection pays for the redirect, and one of 301, 302 "
        "and 303 makes a GET without body of a POST",
    )


def connection_header(examination: Examination) -> Finding | None:
    """A `Connection` field that an app set."""
    first = examination.first
    value = first.get("connection").lower()
    # nginx and HTTP/1.0 servers speak of their own connection, as does a lone "close".
    if not value or value == "close" or _is_nginx(first) or first.http_version == "HTTP/1.0":
        return None
    return Finding(
        "connection-header",
        "The app sends a Connection header",
        f"connection: {value}",
        "remove it: HTTP/1.1 keeps connections anyway, and over HTTP/2 it is forbidden and makes "
        "browsers refuse the response",
    )


def no_transform(examination: Examination) -> Finding | None:
    """Nothing forbids proxies to compress."""
    first = examination.first
    if not first.is_stream or "no-transform" in first.get("cache-control").lower():
        return None
    value = first.get("cache-control")
    return Finding(
        "no-transform",
        "Proxies may transform the stream",
        f"cache-control: {value}" if value else "there is no cache-control",
        "send cache-control: no-store, no-transform, or a proxy may compress the stream and hold "
        "events back meanwhile",
    )


def accel_buffering(examination: Examination) -> Finding | None:
    """Nothing tells nginx not to buffer."""
    first = examination.first
    # nginx keeps the field for itself: behind it the absence says nothing.
    if not first.is_stream or _is_nginx(first) or first.has("x-accel-buffering"):
        return None
    return Finding(
        "x-accel-buffering",
        "nginx, should it come in front, would buffer the stream",
        "there is no x-accel-buffering",
        "send x-accel-buffering: no",
    )


def six_connections(examination: Examination) -> Finding | None:
    """HTTP/1.1, of which a browser opens six connections to a host."""
    first = examination.first
    if not first.is_stream or is_local(first.url):
        return None
    encrypted = first.url.startswith("https")
    if encrypted and examination.alpn != "http/1.1":
        return None
    evidence = "the server, offered HTTP/2, chose HTTP/1.1" if encrypted else "the URL is http"
    return Finding(
        "six-connections",
        "A browser's seventh stream will hang",
        f"{evidence}; over HTTP/1.1 browsers open six connections to a host, in all tabs together",
        "serve HTTP/2, for which browsers want https",
    )


def cors(examination: Examination) -> Finding | None:
    """A page of the origin may not read the stream."""
    origin, first = examination.origin, examination.first
    if not origin or not first.status or _allows(first, origin):
        return None
    value = first.get("access-control-allow-origin")
    return Finding(
        "cors",
        f"Pages of {origin} may not read the stream",
        f"access-control-allow-origin: {value}"
        if value
        else "there is no access-control-allow-origin",
        f"send access-control-allow-origin: {origin}, with vary: origin if there are several",
    )


def preflight(examination: Examination) -> Finding | None:
    """The request needs a preflight, and that fails."""
    origin, answer = examination.origin, examination.preflight
    if not origin or answer is None:
        return None
    missing = _missing(examination, answer, origin)
    if not missing:
        return None
    return Finding(
        "cors-preflight",
        f"Pages of {origin} may not send this request",
        f"OPTIONS, which browsers send before it: {', '.join(missing)}",
        "answer OPTIONS with 204, access-control-allow-origin, -methods and -headers",
    )


def _allows(exchange: Exchange, origin: str) -> bool:
    return exchange.get("access-control-allow-origin").strip() in ("*", origin.rstrip("/"))


def _missing(examination: Examination, answer: Exchange, origin: str) -> list[str]:
    """What a preflight's answer lacks, by "CORS-preflight fetch" of the Fetch standard."""
    if not 200 <= answer.status < 300:
        return [f"status {answer.status or '(none)'}"]
    missing = [] if _allows(answer, origin) else [f"pages of {origin} are not allowed"]
    method = examination.first.method
    methods = _listed(answer, "access-control-allow-methods")
    if method not in ("GET", "HEAD", "POST") and not {"*", method.lower()} & methods:
        missing.append(f"the method {method} is not allowed")
    headers = _listed(answer, "access-control-allow-headers")
    refused = [
        name
        for name in examination.asked_headers
        if name not in headers and ("*" not in headers or name == "authorization")
    ]
    return missing + [f"the header {name} is not allowed" for name in refused]


def _listed(exchange: Exchange, field: str) -> set[str]:
    return {each.strip().lower() for each in exchange.get(field).split(",")}


def _is_nginx(exchange: Exchange) -> bool:
    return any(name in exchange.get("server").lower() for name in ("nginx", "openresty"))
