"""`sse-asgi demo --redis`: what is said at the start where there is no Redis."""

import pytest

from tests.cli import commands
from tests.live.redis_server import RedisServer
from tests.servers import free_port

pytestmark = pytest.mark.matrix

MODEL = {"OPENAI_BASE_URL": ""}


def test_a_redis_out_of_reach_is_said_at_the_start_and_ends_nothing(tmp_path):
    url = f"redis://:secret@127.0.0.1:{free_port()}"
    with commands.serving("demo", "--redis", url, directory=tmp_path, environment=MODEL) as running:
        said, greeting = running.log.splitlines()
        assert said.startswith("sse-asgi demo: redis: ")
        assert said.endswith("; no answer begins without it")
        assert "secret" not in said
        assert greeting.startswith(f"The demo is at {running.url} ")
        with running.open("/") as client:
            assert client.read_status() == 200


def test_nothing_is_said_of_a_redis_that_answers(tmp_path):
    with (
        RedisServer() as redis,
        commands.serving(
            "demo", "--redis", redis.url, directory=tmp_path, environment=MODEL
        ) as running,
    ):
        assert running.log.splitlines()[0].startswith("The demo is at ")
