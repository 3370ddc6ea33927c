"""A small n-gram language model, so that the demo has something to say without a network.

Words are predicted from the three before them, and from fewer where three are not enough
(back-off). It learns one public-domain book in a few tenths of a second. It has the rhythm
of a language model's output, token by token, and none of the sense.
"""

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from typing import TypeAlias

ORDER = 4
"""Tokens in an n-gram: the predicted one and at most three before it."""

_TOKEN = re.compile(r" ?(?:[^\W\d_]+(?:[\u2019-][^\W\d_]+)*|\d+|[^\w\s])|\n\n")
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_CLOSES = {"\u2018": "\u2019", "\u201c": "\u201d", "(": ")"}
_SENTENCE_ENDS = (".", "!", "?")
_UNFINISHED = re.compile(r"[\w,;:—-]\s*\Z")
_SHORTEST_STEM = 3
_WORTH_COUNTING = 50

_Following: TypeAlias = Mapping[tuple[str, ...], Counter[str] | list[str]]


def embedded_text() -> str:
    """Return the book that is shipped with the package: prose, one line per paragraph."""
    return (files("sse_asgi.demo") / "text/wonderland.txt").read_text(encoding="utf-8")


class NGramModel:
    """Learn a text at once, then write more of the same.

    Args:
        text: The text to learn. Paragraphs are separated by an empty line.

    Raises:
        ValueError: If the text holds no words.
    """

    def __init__(self, text: str) -> None:
        self._paragraphs = [_TOKEN.findall(part) for part in text.split("\n\n") if part.strip()]
        self._counts = Counter(token.strip() for part in self._paragraphs for token in part)
        self._stems = _stems(self._counts)
        if not self._stems:
            raise ValueError("the text to learn holds no words: pass some prose")
        self._following = _following(self._paragraphs)

    @property
    def words(self) -> int:
        """How many words the text had."""
        return sum(count for token, count in self._counts.items() if _WORD.fullmatch(token))

    def generate(
        self,
        prompt: str,
        *,
        seed: int | None = None,
        temperature: float = 0.8,
        max_tokens: int = 160,
    ) -> Iterator[str]:
        """Write a passage that the prompt seeds, token by token.

        A prompt that breaks off is carried on from its last word; any other is answered with
        a passage that begins where the book speaks of the prompt's rarer words. These words
        are also likelier throughout.

        Args:
            prompt: Any text, also the empty one.
            seed: The same seed and prompt give the same passage; `None` gives another each time.
            temperature: Below 1 keeps to what is likely, above 1 strays. Greater than 0.
            max_tokens: The passage ends with the first sentence that reaches this length,
                and is cut at half as much again.

        Raises:
            ValueError: If the temperature or `max_tokens` is not positive.
        """
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature!r}: it must be greater than 0")
        if max_tokens < 1:
            raise ValueError(f"max_tokens is {max_tokens!r}: it must be at least 1")
        rng = random.Random(seed)  # noqa: S311 - prose, not secrets
        topics = self._topics(prompt)
        before, opening = self._opening(prompt, topics, rng)
        passage = _Passage(self._following, rng, temperature, frozenset(topics))
        return passage.write(before, opening, max_tokens)

    def _topics(self, prompt: str) -> list[str]:
        """The words of the prompt that the text knows, in their order, without the very common."""
        known = [self._nearest(word) for word in _WORD.findall(prompt)]
        rare = len(self._paragraphs) // 2
        return [word for word in known if word and self._counts[word] <= rare]

    def _nearest(self, word: str) -> str | None:
        """The text's own form of a word: the word, or the one with the longest common beginning."""
        word = word.replace("'", "\u2019").lower()
        shortest = max(_SHORTEST_STEM, (len(word) + 1) // 2)
        for length in range(len(word), min(shortest, len(word)) - 1, -1):
            if (found := self._stems.get(word[:length])) and (
                length >= shortest or found.lower() == word
            ):
                return found
        return None

    def _opening(
        self, prompt: str, topics: list[str], rng: random.Random
    ) -> tuple[list[str], list[str]]:
        """What the passage takes as read, and its first tokens."""
        known = [self._nearest(word) for word in _WORD.findall(prompt)]
        if known and known[-1] and _UNFINISHED.search(prompt):
            return [word or "" for word in known[:-1]], ["…", known[-1]]
        # The book's names say best what a prompt is about; after them, the rarest word.
        subject = min(topics, key=lambda word: (word.islower(), self._counts[word]), default=None)
        about = [part for part in self._paragraphs if subject and _mentions(part, subject)]
        return [], rng.choice(about or self._paragraphs)[: ORDER - 1]


def _stems(counts: Counter[str]) -> dict[str, str]:
    """The commonest word for each beginning of a word; whole words stand for themselves."""
    stems: dict[str, str] = {}
    ranked = [token for token, _ in counts.most_common() if _WORD.fullmatch(token)]
    for word in ranked:
        stems.setdefault(word.lower(), word)
    for word in ranked:
        for length in range(_SHORTEST_STEM, len(word)):
            stems.setdefault(word[:length].lower(), word)
    return stems


def _following(paragraphs: list[list[str]]) -> _Following:
    """What came after every run of up to three tokens, as often as it came."""
    following: dict[tuple[str, ...], list[str]] = {}
    tokens = [token for part in paragraphs for token in (*part, "\n\n")]
    context = [token.strip(" ") for token in tokens]
    for end, token in enumerate(tokens):
        for start in range(max(0, end - ORDER + 1), end + 1):
            following.setdefault(tuple(context[start:end]), []).append(token)
    # Most runs came once or twice: to count only the others keeps the training short.
    return {
        run: Counter(tokens) if len(tokens) > _WORTH_COUNTING else tokens
        for run, tokens in following.items()
    }


def _mentions(tokens: Iterable[str], word: str) -> bool:
    return any(token.strip() == word for token in tokens)


class _Passage:
    """One text in the making: it keeps quotation marks and brackets in pairs."""

    def __init__(
        self,
        following: _Following,
        rng: random.Random,
        temperature: float,
        topics: frozenset[str],
    ) -> None:
        self._following = following
        self._rng = rng
        self._temperature = temperature
        self._topics = topics
        self._context: list[str] = []
        self._open: list[str] = []
        self._ending = False

    def write(self, before: list[str], opening: list[str], max_tokens: int) -> Iterator[str]:
        yield from opening
        for token in (*before, *opening):
            self._take(token)
        length = len(opening)
        while length < max_tokens or not self._at_rest():
            if length >= max_tokens * 1.5:
                break
            self._ending = length >= max_tokens
            token = self._next()
            self._take(token)
            length += 1
            yield token
        yield from reversed(self._open)

    def _take(self, token: str) -> None:
        text = token.strip(" ")
        if text == "…":
            return
        self._context = [*self._context, text][-(ORDER - 1) :]
        if text in _CLOSES:
            self._open.append(_CLOSES[text])
        elif self._open and text == self._open[-1]:
            self._open.pop()

    def _at_rest(self) -> bool:
        """Whether a sentence has just ended, and with it all that was quoted."""
        ends = [token for token in self._context if token not in _CLOSES.values()][-1:]
        return not self._open and ends != [] and ends[0] in _SENTENCE_ENDS

    def _next(self) -> str:
        for start in range(len(self._context) + 1):
            found = Counter(self._following.get(tuple(self._context[start:]), ()))
            choices = {token: count for token, count in found.items() if self._fits(token)}
            # One choice only is the book itself: follow it for a while, then turn off.
            if len(choices) > 1 or (choices and self._rng.random() < 0.6):
                return self._draw(choices)
        return "\n\n"

    def _fits(self, token: str) -> bool:
        text = token.strip(" ")
        if text == "\n\n":
            return not self._open and self._context[-1] != "\n\n"
        if text in _CLOSES.values():
            return bool(self._open) and text == self._open[-1]
        return text not in _CLOSES or _CLOSES[text] not in self._open

    def _draw(self, choices: dict[str, int]) -> str:
        weights = [
            count ** (1 / self._temperature) * self._favour(token.strip())
            for token, count in choices.items()
        ]
        return self._rng.choices(list(choices), weights)[0]

    def _favour(self, token: str) -> int:
        if self._ending:
            return 50 if token in _SENTENCE_ENDS or token in _CLOSES.values() else 1
        return 6 if token in self._topics else 1
