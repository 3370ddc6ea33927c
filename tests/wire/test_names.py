"""Names that users give, and ids that the library makes."""

import re

import pytest

from sse_asgi.wire.names import check_name, make_id


def test_an_id_is_of_128_random_bits():
    ids = {make_id("x_") for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch("x_[0-9a-f]{32}", each) for each in ids)


def test_a_name_is_a_str_with_something_in_it():
    check_name("model", "m", "a name")
    with pytest.raises(TypeError, match=r"model must be a str, not 7 \(int\): give a name"):
        check_name("model", 7, "a name")
    with pytest.raises(ValueError, match="model must not be empty: give a name"):
        check_name("model", "", "a name")
