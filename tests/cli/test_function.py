"""What a function of the user's is called with."""

import functools

import pytest

from sse_asgi import Request
from sse_asgi.cli.function import REQUIRED, fit

REQUEST = Request({"type": "http", "method": "GET", "path": "/", "headers": []})


class Answer:
    def __init__(self, request):
        self.request = request

    def speak(self, prompt):
        return ("speak", prompt)


def prompt_only(prompt):
    return ("prompt", prompt)


def positional_only(request, prompt, /):
    return (request, prompt)


def reversed_order(*, prompt, request):
    return (request, prompt)


def one_of_any_name(anything):
    return ("one", anything)


def one_and_a_default(anything, temperature=0.7):
    return (anything, temperature)


def none():
    return ("none",)


def defaults(count=3, *words, loud=False, **rest):
    return (count, words, loud, rest)


def defaults_and_prompt(temperature=0.7, prompt="hi"):
    return (temperature, prompt)


@pytest.mark.parametrize(
    ("function", "result"),
    [
        (prompt_only, ("prompt", "Q")),
        (positional_only, (REQUEST, "Q")),
        (reversed_order, (REQUEST, "Q")),
        (one_of_any_name, ("one", REQUEST)),
        (one_and_a_default, (REQUEST, 0.7)),
        (none, ("none",)),
        (defaults, (3, (), False, {})),
        (defaults_and_prompt, (0.7, "Q")),
        (Answer(REQUEST).speak, ("speak", "Q")),
        (functools.partial(positional_only, REQUEST), (REQUEST, "Q")),
        (lambda request: ("lambda", request), ("lambda", REQUEST)),
    ],
)
def test_gets_what_its_parameters_ask_for(function, result):
    assert fit(function).call(REQUEST, "Q") == result


def test_a_class_is_called_as_a_function_is():
    assert fit(Answer).call(REQUEST, None).request is REQUEST


@pytest.mark.parametrize(
    ("function", "default"),
    [(prompt_only, REQUIRED), (defaults_and_prompt, "hi"), (lambda prompt=None: prompt, None)],
)
def test_knows_the_prompt_where_none_is_sent(function, default):
    fitted = fit(function)
    assert fitted.takes_prompt
    assert fitted.default == default


@pytest.mark.parametrize("function", [none, one_of_any_name, defaults])
def test_a_function_without_a_prompt_takes_none(function):
    assert not fit(function).takes_prompt


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (lambda model, tokens: model, "'model', 'tokens'"),
        (lambda prompt, model: model, "'model'"),
        (lambda *, model: model, "'model'"),
        (lambda request, model: model, "'model'"),
    ],
)
def test_what_nobody_has_is_refused_by_name(function, names):
    with pytest.raises(TypeError, match=f"it requires {names}, but can only be given"):
        fit(function)
