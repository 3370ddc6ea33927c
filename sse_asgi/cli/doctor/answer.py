"""Evidence in the answer: connection, status and header fields."""

from sse_asgi.cli.doctor import delivery
from sse_asgi.cli.doctor.examine import Evidence, Examination
from sse_asgi.cli.doctor.exchange import Exchange, Stop


def look(case: Examination) -> Evidence:
    """Return what was seen, by the finding's code; "" for nothing."""
    first = case.first
    answered = f"{first.method} {first.url} answered {first.status}"
    gives_up = "a browser's EventSource gives up at once"
    meaning = "to a browser that means: stop for good" if first.status == 204 else gives_up
    refused = first.status not in (0, 200)
    redirects = ", ".join(first.redirects)
    return {
        "unreachable": first.stop is Stop.NO_CONNECTION and (first.error or "no answer"),
        "no-response": first.stop is Stop.NO_RESPONSE and f"no status within {case.wait:.2f} s",
        "status": refused and f"{answered}; {meaning}",
        "content-type": first.status == 200
        and not first.is_stream
        and _shown(first, "content-type"),
        "charset": _charset(first),
        "redirect": redirects and f"{redirects}; the answer came to {first.method} {first.url}",
        "cors": _cors(case),
        "cors-preflight": _preflight(case),
        **(_fields(case, first) if first.is_stream else {}),
    }


def _fields(case: Examination, first: Exchange) -> Evidence:
    may_transform = "no-transform" not in first.headers.get("cache-control", "").lower()
    is_ours = not first.is_from_nginx and first.http_version != "HTTP/1.0"
    connection = first.headers.get("connection", "").lower()  # a lone "close" is the server's
    hidden = "x-accel-buffering" not in first.headers
    held = bool(delivery.look(case)["buffered"])
    server = f"server: {first.headers.get('server')}"
    unseen = first.is_from_nginx and not held and not delivery.came_in_time(first)
    http_1 = first.http_version != "HTTP/2"
    coded = "content-encoding" in first.headers and case.plain is None
    return {
        "connection-header": is_ours and connection not in ("", "close") and connection,
        "no-transform": may_transform and _shown(first, "cache-control"),
        "x-accel-buffering": hidden
        and (
            (held and f"{server}, and events are held back")
            if first.is_from_nginx
            else "there is no x-accel-buffering"
        ),
        "nginx-in-front": hidden and unseen and f"{server}; too little came to see more",
        "six-connections": _six_connections(case),
        "local-http-1": case.is_local and http_1 and f"the answer came by {first.http_version}",
        "sent-once": coded and f"{case.method} was sent once",
    }


def _charset(first: Exchange) -> str:
    value = first.headers.get("content-type", "")
    _, separator, parameter = value.lower().partition("charset=")
    name = parameter.partition(";")[0].strip(" \"'")
    return "" if not separator or name in ("utf-8", "utf8") else f"content-type: {value}"


def _six_connections(case: Examination) -> str:
    encrypted = case.first.url.startswith("https")
    if case.is_local or (encrypted and case.alpn != "http/1.1"):
        return ""
    evidence = "the server, offered HTTP/2, chose HTTP/1.1" if encrypted else "the URL is http"
    return (
        f"{evidence}; over HTTP/1.1 browsers open six connections to a host, in all tabs together"
    )


def _cors(case: Examination) -> str:
    first, origin = case.first, case.origin
    if not origin or not first.status or _allows(first, origin):
        return ""
    return f"pages of {origin}: {_shown(first, 'access-control-allow-origin')}"


def _preflight(case: Examination) -> str:
    """What a preflight's answer lacks, by "CORS-preflight fetch" of the Fetch standard."""
    answer, origin, method = case.preflight, case.origin or "", case.first.method
    if answer is None:
        return ""
    lacking = [] if _allows(answer, origin) else [f"pages of {origin} are not allowed"]
    methods = _listed(answer, "access-control-allow-methods")
    if method not in ("GET", "HEAD", "POST") and not {"*", method.lower()} & methods:
        lacking.append(f"the method {method} is not allowed")
    headers = _listed(answer, "access-control-allow-headers")
    any_but = {"authorization"} if "*" in headers else set(case.unsafe_headers)
    refused = sorted((set(case.unsafe_headers) & any_but) - headers)
    lacking += [f"the header {name} is not allowed" for name in refused]
    if not 200 <= answer.status < 300:
        lacking = [f"status {answer.status or '(none)'}"]
    return f"OPTIONS, which browsers send before it: {', '.join(lacking)}" if lacking else ""


def _allows(exchange: Exchange, origin: str) -> bool:
    allowed = exchange.headers.get("access-control-allow-origin", "").strip()
    return allowed in ("*", origin.rstrip("/"))


def _listed(exchange: Exchange, name: str) -> set[str]:
    return {each.strip().lower() for each in exchange.headers.get(name, "").split(",")}


def _shown(exchange: Exchange, name: str) -> str:
    value = exchange.headers.get(name)
    return f"{name}: {value}" if value else f"there is no {name}"
