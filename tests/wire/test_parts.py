"""What a model says besides text."""

import copy
import dataclasses
import json
import pickle
from collections import OrderedDict
from types import MappingProxyType
from typing import get_args

import pytest

from sse_asgi import Finish, Part, Reasoning, ToolCall, Usage

PARTS = [Reasoning("a"), ToolCall("a", {}), Usage(1, 2), Finish("stop")]


def test_a_part_is_one_of_four():
    assert get_args(Part) == (Reasoning, ToolCall, Usage, Finish)
    assert all(isinstance(part, Part) for part in PARTS)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_a_value(part):
    assert copy.deepcopy(part) == pickle.loads(pickle.dumps(part)) == dataclasses.replace(part)
    assert len({part, copy.copy(part)}) == 1
    assert not hasattr(part, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(part, dataclasses.fields(part)[0].name, "b")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("", "{}"),
        ({}, "{}"),
        ('{"a":  1}', '{"a":  1}'),
        ({"a": "é"}, '{"a": "é"}'),
        (OrderedDict(a=None), '{"a": null}'),
        (MappingProxyType({"a": MappingProxyType({"b": [True]})}), '{"a": {"b": [true]}}'),
        ("[1]", "[1]"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_arguments_are_json_text(arguments, text):
    call = ToolCall("tool", arguments)
    assert call.arguments == text
    assert dataclasses.replace(call) == call


@pytest.mark.parametrize("text", ["{", "{'a': 1}", " ", '{"a": NaN}', "{}{}", '"\n"', "[" * 10**5])
def test_text_that_is_no_json_is_refused(text):
    with pytest.raises(ValueError, match=r"arguments must be JSON text, and is none.*or a mapping"):
        ToolCall("tool", text)


@pytest.mark.parametrize("value", [{"a": float("nan")}, {"a": float("inf")}])
def test_a_mapping_that_is_no_json_is_refused(value):
    with pytest.raises(ValueError, match="arguments cannot be JSON"):
        ToolCall("tool", value)


def test_a_mapping_in_itself_is_refused():
    value = {}
    value["a"] = value
    with pytest.raises(ValueError, match="arguments cannot be JSON"):
        ToolCall("tool", value)


@pytest.mark.parametrize("value", [{"a": {1}}, {"a": b"b"}, {(1,): 2}])
def test_a_mapping_of_other_types_is_refused(value):
    with pytest.raises(TypeError, match=r"arguments cannot be JSON.*JSON's types"):
        ToolCall("tool", value)


@pytest.mark.parametrize("value", [None, b"{}", [("a", 1)], 7])
def test_arguments_of_another_type_are_refused(value):
    with pytest.raises(TypeError, match=r"arguments must be a mapping or JSON text, not of type"):
        ToolCall("tool", value)


def test_an_id_is_made_that_nobody_can_guess():
    ids = {ToolCall("tool", "").id for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(each) == len("call_") + 32 and each.startswith("call_") for each in ids)
    assert all(int(each.removeprefix("call_"), 16) >= 0 for each in ids)
    assert ToolCall("tool", "", "mine").id == ToolCall("tool", "", id="mine").id == "mine"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Reasoning(7), r"text must be a str, not of type int: convert"),
        (lambda: ToolCall(7, ""), r"name must be a str, not 7 \(int\): give the tool's name"),
        (lambda: ToolCall("a", "", 7), r"id must be a str, not 7 \(int\): give the call's id"),
        (lambda: Finish(None), r"reason must be a str, not None \(NoneType\): give a word"),
        (lambda: Usage("9"), r"input_tokens must be an int or None, not '9' \(str\)"),
        (lambda: Usage(1, True), r"output_tokens must be an int or None, not True \(bool\)"),
        (lambda: Usage(1.0), r"input_tokens must be an int or None, not 1.0 \(float\)"),
    ],
)
def test_a_field_of_another_type_is_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ToolCall("", ""), "name must not be empty: give the tool's name"),
        (lambda: ToolCall("a", "", ""), "id must not be empty: .* or None to have one made"),
        (lambda: Finish(""), 'reason must not be empty: give a word, "stop" for instance'),
        (lambda: Usage(-1), "input_tokens must not be negative, as -1 is"),
    ],
)
def test_a_field_of_no_use_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_text_of_users_is_in_no_error():
    for wrong in ("secret", {"a": {"secret"}}):
        with pytest.raises((TypeError, ValueError)) as caught:
            ToolCall("tool", wrong)
        assert "secret" not in str(caught.value)


def test_a_mapping_is_encoded_once_and_for_all():
    arguments = {"a": 1}
    call = ToolCall("tool", arguments)
    arguments["a"] = 2
    assert json.loads(call.arguments) == {"a": 1}
