"""What users import: complete, sorted, documented, and light."""

import importlib
import inspect
import json
import subprocess
import sys

import pytest

import sse_asgi

CONTRACT = {
    "EventStream", "EventStreamDecoder", "EventTooLargeError", "Finish", "Framing",
    "InvalidEventError", "JSONFraming", "MessageEvent", "Outcome", "Part", "Reasoning", "Request",
    "RequestTooLargeError", "ServerSentEvent", "Shutdown", "SourceSpentError", "TextFraming",
    "ToolCall", "Transcript", "Usage",
}  # fmt: skip
OPTIONAL = [
    "starlette",
    "httpx",
    "httpx2",
    "redis",
    "trio",
    "uvicorn",
    "uvloop",
    "fastapi",
    "hypercorn",
]
UNLESS_USED = {
    "sse_asgi.coalescing",
    "sse_asgi.compression",
    "sse_asgi.limits",
    "sse_asgi.openapi",
    "sse_asgi.telemetry",
    "opentelemetry",
}


def members(value):
    """The public functions, properties and classes that a class defines itself."""
    for name, member in vars(value).items() if inspect.isclass(value) else ():
        if not name.startswith("_") and (
            inspect.isfunction(member) or isinstance(member, property)
        ):
            yield name, member


def test_exports_are_sorted_and_exist():
    assert sse_asgi.__all__ == sorted(sse_asgi.__all__)
    assert len(set(sse_asgi.__all__)) == len(sse_asgi.__all__)
    for name in sse_asgi.__all__:
        assert hasattr(sse_asgi, name)


def test_exports_are_all_that_the_package_names():
    found = {
        name
        for name, value in vars(sse_asgi).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert found == set(sse_asgi.__all__)


def test_exports_hold_the_contract():
    assert set(sse_asgi.__all__) >= CONTRACT


@pytest.mark.parametrize("name", sse_asgi.__all__)
def test_every_public_name_has_a_docstring(name):
    value = getattr(sse_asgi, name)
    assert inspect.getdoc(value), name
    assert value.__doc__, f"{name} inherits its docstring"
    for member_name, member in members(value):
        if not issubclass(value, str):
            assert inspect.getdoc(member), f"{name}.{member_name}"


def test_errors_have_one_root():
    errors = [
        value
        for name in sse_asgi.__all__
        if (value := getattr(sse_asgi, name)) and name.endswith("Error")
    ]
    assert all(issubclass(error, sse_asgi.SSEError) for error in errors)
    assert issubclass(sse_asgi.InvalidEventError, ValueError)
    assert issubclass(sse_asgi.SourceSpentError, RuntimeError)


def loaded_by(code):
    """Return the modules that are there once this code has run in a process of its own."""
    code = f"import sys, json\n{code}\nprint(json.dumps([*sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", ["sse_asgi", "sse_asgi.dialects", "sse_asgi.testing"])
def test_the_import_loads_nothing_optional(module):
    loaded = {name.partition(".")[0] for name in loaded_by(f"import {module}")}
    assert "anyio" in loaded
    assert loaded.isdisjoint(OPTIONAL)


@pytest.mark.parametrize(
    "module", ["sse_asgi", "sse_asgi.chat", "sse_asgi.live", "sse_asgi.starlette"]
)
def test_what_is_not_used_is_not_imported(module):
    assert loaded_by(f"import {module}").isdisjoint(UNLESS_USED)


def test_an_app_that_uses_none_of_it_imports_none_of_it():
    served = """
import asyncio
from sse_asgi import EventStream, EventStreamMiddleware
from sse_asgi.testing import collect_text, connect

async def main():
    async with connect(EventStreamMiddleware(EventStream(["a"]))) as connection:
        assert await collect_text(connection) == "a"

asyncio.run(main())
"""
    assert loaded_by(served).isdisjoint(UNLESS_USED)


def test_a_missing_package_is_named_with_its_remedy():
    asked = """
class Missing:
    def find_spec(name, path, target=None):
        if name in ("redis", "opentelemetry"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing)
said = []
for module in ("live.redis", "limits.redis", "telemetry"):
    try:
        __import__(f"sse_asgi.{module}")
    except ImportError as error:
        said.append(str(error))
assert said == [
    "RedisLog needs redis-py: pip install 'sse-asgi[redis]'",
    "RedisLimits needs redis-py: pip install 'sse-asgi[redis]'",
    "Telemetry needs OpenTelemetry: pip install 'sse-asgi[otel]'",
], said
"""
    assert "redis" not in loaded_by(asked)


def test_a_live_chat_that_uses_none_of_it_imports_none_of_it():
    served = """
import asyncio
from sse_asgi.chat import ChatApp
from sse_asgi.live import Live
from sse_asgi.testing import connect

async def generate(chat):
    yield "a"

BODY = {"id": "c", "messages": [{"role": "user", "parts": [{"type": "text", "text": "?"}]}]}

async def main():
    live = Live()
    app = ChatApp(generate, live=live)
    async with connect(app, "/ai-sdk", method="POST", json=BODY) as connection:
        assert connection.status == 200
        assert [event async for event in connection]
    await live.aclose()

asyncio.run(main())
"""
    assert loaded_by(served).isdisjoint(UNLESS_USED)


@pytest.mark.parametrize(
    ("lacks", "said"),
    [("opentelemetry", r"pip install 'sse-asgi\[otel\]'"), ("sse_asgi.around", "sse_asgi.around")],
)
def test_telemetry_says_what_it_needs_and_hides_no_other_error(lacks, said, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("sse_asgi.telemetry", lacks))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, lacks, None)
    with pytest.raises(ImportError, match=said):
        importlib.import_module("sse_asgi.telemetry")


def test_the_package_is_marked_as_typed():
    from importlib.resources import files

    assert files("sse_asgi").joinpath("py.typed").is_file()
