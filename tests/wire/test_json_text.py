"""JSON that every client reads as one line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_asgi.wire.json_text import json_bytes, read_object
from tests.wire.said import VALUES, well_formed


@given(VALUES)
def test_it_is_one_line_whatever_counts_as_a_lines_end(value):
    line = json_bytes(value).decode()
    assert len(line.splitlines()) == 1
    assert json.loads(line) == json.loads(well_formed(json.dumps(value, ensure_ascii=False)))


@given(st.dictionaries(st.text(), VALUES))
def test_an_object_is_read(value):
    text = " \r\n\t" + json.dumps(value)
    assert read_object(text) == json.loads(text)


def test_a_number_may_have_any_number_of_digits():
    assert read_object('{"a": [%s, 1], "b": "c"}' % ("9" * 5000))["b"] == "c"


@pytest.mark.parametrize("text", ["", "[]", "1", '"{}"', "{", "{}{}", '{"a":' * 10**5, "[" * 10**5])
def test_what_is_no_object_is_none(text):
    assert read_object(text) is None
