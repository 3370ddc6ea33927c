"""The app that uvicorn serves in a soak: each path is the number of a plan.

`/state` answers with the ledger and the state of the process. The same is written to a file when
the server has stopped in order.
"""

import json
import os
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from sse_asgi import ServerSentEvent, Shutdown

from .apps import app_of
from .ledger import Ledger, noise_is_a_problem
from .plan import Plan, plan_of
from .state import State

SEED = int(os.environ.get("SOAK_SEED", "0"))
REPORT = os.environ.get("SOAK_REPORT")
GRACE = 0.5
SEND_TIMEOUT = 1.0  # for clients that never read; others may be slow because the machine is

ledger = Ledger()
shutdown = Shutdown(grace=GRACE, farewell=ServerSentEvent(retry=1))


async def app(scope, receive, send) -> None:
    if scope["type"] == "lifespan":
        await live(receive, send)
    elif scope["path"] == "/state":
        await answer(send, now())
    else:
        plan = plan_of(SEED, int(scope["path"][1:]), sockets=True)
        await stream(plan, scope, receive, send)


async def live(receive, send) -> None:
    """Listen for noise from the start of the server to its orderly end."""
    with ExitStack() as stack:
        await receive()
        stack.enter_context(noise_is_a_problem(ledger))
        await send({"type": "lifespan.startup.complete"})
        await receive()
    if REPORT:
        Path(REPORT).write_text(json.dumps(now()))
    await send({"type": "lifespan.shutdown.complete"})


async def stream(plan: Plan, scope, receive, send) -> None:
    entry = ledger.enter(plan)
    timeout = SEND_TIMEOUT if plan.client == "never reads" else 60.0
    error: BaseException | None = None
    try:
        await app_of(entry, shutdown=shutdown, send_timeout=timeout)(scope, receive, send)
    except Exception as caught:
        error = caught
        raise
    finally:
        ledger.leave(entry, error)


def now() -> dict[str, object]:
    return {
        "open": len(ledger.open),
        "outcomes": ledger.outcomes,
        "broken": ledger.broken,
        "problems": ledger.problems,
        "state": asdict(State.now()),
    }


async def answer(send, content: dict[str, object]) -> None:
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})
