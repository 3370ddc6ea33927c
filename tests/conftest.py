"""What every test shares: the two event loops, and the real parts some tests need."""

import gc
import importlib.util
import os
import re
import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest

for module in ("raw_clients", "report", "servers", "stage"):  # their asserts explain themselves
    pytest.register_assert_rewrite(f"tests.{module}")

REQUIRE_ALL = "SSE_ASGI_REQUIRE_ALL"
MATRIX_FILE = re.compile(r"^pytestmark = .*\bpytest\.mark\.matrix\b(?!\()", re.MULTILINE)
WAITING = (  # files whose tests wait for long: begun first, they are not left alone at the end
    "tests/client/test_event_source.py",
    "tests/live/test_closing.py",
    "tests/cli/test_doctor.py",
    "tests/client/test_text.py",
    "tests/host/test_asyncio_host.py",
    "tests/live/test_conformance.py",
    "tests/test_live_operated_servers.py",
    "tests/shutdown/test_shutdown.py",
    "tests/live/test_live.py",
    "tests/test_docs.py",
    "tests/test_middleware.py",
    "tests/live/test_heartbeat.py",
    "tests/test_browser.py",
    "tests/test_servers.py",
    "tests/demo/test_source.py",
)


def pytest_addoption(parser):
    parser.addoption(
        "--write-compatibility",
        action="store_true",
        help="write docs/reference/compatibility.md from the results of the matrix",
    )
    parser.addoption(
        "--all",
        action="store_true",
        dest="all_tests",
        help="run the tests marked matrix, too; so do files that are named",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if item.config.getoption("--write-compatibility"):
        from tests.compatibility import note

        note(item, report)
    return report


def pytest_xdist_auto_num_workers(config):
    """Run two files at a time on each core: most tests wait for longer than they compute.

    Those of the matrix measure times of real servers, and get a core for each.
    """
    return None if config.getoption("all_tests") else 2 * (os.cpu_count() or 1)


def pytest_configure(config):
    if hasattr(config, "workerinput"):  # a process of xdist's, which runs tests
        config.option.all_tests = config.workerinput["all_tests"]
    else:
        config.option.all_tests |= config.args_source is config.ArgsSource.ARGS
        config.option.all_tests |= config.getoption("--write-compatibility")
    if REQUIRE_ALL in os.environ and not config.option.all_tests:
        raise pytest.UsageError(f"{REQUIRE_ALL} is set, but not all tests would run: add --all")
    os.environ.pop("PYTEST_ADDOPTS", None)  # it is not for the runs of pytest that tests start
    # No test asks a public server. To read the machine's certificates takes an HTTP client 20 ms.
    os.environ.pop("SSL_CERT_FILE", None)
    os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent)
    # A shell that starts a command in the background has it ignore SIGINT, and all that it starts
    # inherits that: Ctrl-C would reach none of the processes under test.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.option.dist == "no":  # this process runs tests
        choose_examples(few=not config.option.all_tests)
        gc.disable()  # till all is collected: it would look at what importing makes, in vain


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    """Tell a process of xdist's what to run: it reads no PYTEST_ADDOPTS, which is gone by then."""
    node.workerinput["all_tests"] = node.config.option.all_tests


def choose_examples(*, few):
    """Have hypothesis draw a fifth of the examples where not all tests are run."""
    from hypothesis import settings

    # How long an example takes depends on what else the machine does.
    settings.register_profile("every example", deadline=None)
    settings.register_profile("few examples", deadline=None, max_examples=20)
    settings.load_profile("few examples" if few else "every example")


def pytest_ignore_collect(collection_path, config):
    """Import no file whose tests all belong to the matrix, unless it is to run."""
    if config.getoption("all_tests") or not collection_path.match("test_*.py"):
        return None
    return bool(MATRIX_FILE.search(collection_path.read_text("utf-8"))) or None


def pytest_collection_modifyitems(config, items):
    if config.getoption("all_tests"):
        return
    matrix = {item for item in items if any(map(_leaves_out(item), item.iter_markers("matrix")))}
    config.hook.pytest_deselected(items=list(matrix))
    items[:] = [item for item in items if item not in matrix]
    if config.args_source is config.ArgsSource.ARGS:
        return
    number = Counter(item.path for item in items)
    places = {config.rootpath / file: place for place, file in enumerate(WAITING)}
    items.sort(key=lambda item: (places.get(item.path, len(places)), -number[item.path]))


def _leaves_out(item):
    """Tell whether a mark leaves out a test: the whole, or all but the first of a parameter."""
    indices = item.callspec.indices if hasattr(item, "callspec") else {}

    return lambda mark: not mark.args or any(indices.get(name) for name in mark.args)


def pytest_collection_finish():
    gc.enable()


def pytest_sessionfinish(session):
    if session.config.getoption("--write-compatibility"):
        from tests.compatibility import write

        write(session.config)


@pytest.fixture(scope="module", autouse=True)
def _what_was_there_before_is_no_garbage():
    """Spare the cycle collector, which many tests run, what the files before have left."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request):
    """Run each async test on both event loops."""
    return request.param


def require(part: str) -> str:
    """Return the path of an executable or the name of a Python module that a test needs.

    A missing part skips the test, or fails it where SSE_ASGI_REQUIRE_ALL=1 is set.
    """
    path = shutil.which(part)
    if path is not None:
        return path
    if _is_importable(part):
        return part
    reason = f"needs {part}, which is not installed"
    if os.environ.get(REQUIRE_ALL) == "1":
        pytest.fail(f"{reason} ({REQUIRE_ALL}=1 forbids to skip)", pytrace=False)
    pytest.skip(reason)


def _is_importable(module: str) -> bool:
    if not all(map(str.isidentifier, module.split("."))):
        return False
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it would be in
        return False


@pytest.fixture(scope="module")
def chromium():
    """Start a real Chromium."""
    require("playwright")
    path = require("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_in_chromium(chromium):
    """Open pages, given their class and address; their contexts are closed after the test."""
    opened = []

    def open_(kind, url):
        opened.append(kind(chromium, url))
        return opened[-1]

    yield open_
    for each in opened:
        each.context.close()


@pytest.fixture(autouse=True)
def _stall_is_no_burst(monkeypatch, request):
    """Let no stall of a busy machine look as if the source had gone on for a while.

    A stream then has the source wait at its `yield`, where it may be closed. A test of that itself
    is marked `real_pauses`.
    """
    if request.node.get_closest_marker("real_pauses") is None:
        monkeypatch.setattr("sse_asgi.stream.response.MAX_WAIT", 60.0)
