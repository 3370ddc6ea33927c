"""What the FAQ answers is so."""

import pytest

from sse_asgi.testing import connect
from tests import documents

PAGE = documents.DOCS / "how-to" / "faq.md"

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend():
    """Run the examples as their readers do, who write `asyncio.sleep`."""
    return "asyncio"


@pytest.fixture
def names():
    return documents.run(PAGE)


async def data_of(app, path="/", **request):
    async with connect(app, path, **request) as connection:
        return [event.data async for event in connection]


async def test_the_source_is_closed_when_the_client_leaves(names):
    async with connect(names["answer"]) as connection:
        await anext(connection)
        await connection.disconnect()
    assert names["closed"] == ["upstream"]


async def test_the_answer_is_saved_with_its_user_also_when_the_tab_is_closed(names):
    async with connect(names["app"], "/save?user=ann") as connection:
        await anext(connection)
        await connection.disconnect()
    await data_of(names["app"], "/save?user=bob")
    [(first, text, finished), second] = names["saved"]
    assert (first, finished) == ("ann", False)
    assert text.startswith("Hello ")
    assert second == ("bob", "Hello there ", True)


async def test_a_stream_may_end_by_itself_when_the_server_stops(names):
    async with connect(names["polite"]) as connection:
        await anext(connection)
        names["shutdown"].begin()
        assert [event.data async for event in connection][-1] == "[DONE]"


async def test_a_failure_is_described(names):
    async with connect(names["described"]) as connection:
        events = [event async for event in connection]
    assert events[-1].type == "error"
    assert events[-1].data == '{"message": "Your quota is used up."}'


async def test_a_cookie_authenticates(names):
    async with connect(names["app"], "/authenticated") as refused:
        assert refused.status == 401
    headers = {"cookie": "session=session-of-ann"}
    data = await data_of(names["app"], "/authenticated", headers=headers)
    assert data == ["Hello ", "ann ", "[DONE]"]


async def test_no_session_is_open_while_the_model_writes(names):
    async with connect(names["frugal"]) as connection:
        assert (await anext(connection)).data == "a "
        assert names["sessions"]["open"] == 0


async def test_a_generation_is_followed_twice(names):
    question = {"method": "POST", "json": {"prompt": "a b"}}
    async with connect(names["app"], "/ask", **question) as answer:
        id_ = (await answer.read()).decode().split('"')[3]
    for _ in range(2):
        assert await data_of(names["app"], f"/live/{id_}") == ["a ", "b ", "[DONE]"]
    await names["live"].aclose()


async def test_a_third_stream_is_refused_and_counts_for_nothing(names):
    names["running"]["ann"] = 2
    async with connect(names["app"], "/limited", headers={"x-user": "ann"}) as refused:
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    data = await data_of(names["app"], "/limited", headers={"x-user": "bob"})
    assert data == ["Hello ", "there ", "[DONE]"]
    assert names["running"] == {"ann": 2, "bob": 0}
