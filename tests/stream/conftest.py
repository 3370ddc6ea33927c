"""The event loops that a stream must live in."""

import pytest

from tests.conftest import require

LOOPS = {"asyncio": "asyncio", "uvloop": ("asyncio", {"use_uvloop": True}), "trio": "trio"}


@pytest.fixture(scope="module", params=list(LOOPS))
def anyio_backend(request):
    """Run each async test on asyncio, on uvloop and on trio."""
    if request.param == "uvloop":
        require("uvloop")
    return LOOPS[request.param]
