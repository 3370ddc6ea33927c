"""What a model may say, as strategies: parts of every kind, with every kind of character."""

import dataclasses
import json
import string

from hypothesis import strategies as st

from sse_asgi import Finish, Part, Reasoning, ToolCall, Usage

AWKWARD = [
    "",
    "\n",
    "\r\n",
    "\u2028\u2029\x85",
    "[DONE]",
    "\U0001f600",
    '"\\',
    "\0",
    "\ud83d\ude00",
]
TEXTS = st.sampled_from(AWKWARD) | st.text(st.characters(), max_size=20)
NAMES = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
ARGUMENTS = st.dictionaries(TEXTS, VALUES, max_size=3).map(json.dumps) | st.just("")
COUNTS = st.none() | st.integers(0, 10**12)
TOOL_CALLS = st.builds(ToolCall, NAMES, ARGUMENTS, NAMES)
USAGES = st.builds(Usage, COUNTS, COUNTS)
PARTS = st.builds(Reasoning, TEXTS) | TOOL_CALLS | USAGES | st.builds(Finish, TEXTS.filter(len))


def well_formed(text: str) -> str:
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)


def as_sent(part: Part) -> Part:
    """The part as it arrives: UTF-8 has no lone surrogates."""
    fields = dataclasses.asdict(part)
    changed = {name: well_formed(value) for name, value in fields.items() if isinstance(value, str)}
    return dataclasses.replace(part, **changed)
