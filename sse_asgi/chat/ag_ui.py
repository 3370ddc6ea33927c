"""The clients of AG-UI."""

from sse_asgi.chat.answer import Answer, json_answer
from sse_asgi.chat.body import Body
from sse_asgi.chat.dialect import Order
from sse_asgi.chat.error import ChatError
from sse_asgi.dialects import AGUI


class AGUIDialect:
    """`POST /ag-ui`. The answer always is a stream."""

    name = "ag_ui"

    def read(self, body: Body) -> Order:
        """Return what a request, a `RunAgentInput`, asks for."""
        run_id = body.required_text("runId")
        framing = AGUI(thread_id=body.required_text("threadId"), run_id=run_id)
        return Order(
            messages=body.messages(),
            framing=lambda model: framing,  # noqa: ARG005 - its runs name no model
            whole=None,
            named=run_id,
        )

    def refusal(self, error: ChatError) -> Answer:
        """Return what tells the client of an error, as the event that would tell it later."""
        what = {"type": "RUN_ERROR", "message": error.message}
        what |= {"code": error.code} if error.code else {}
        return json_answer(what, error.status, error)
