"""The n-gram model: deterministic by seed, quick to train, tidy in what it writes."""

import hashlib
import random
import re
import time
from importlib.resources import files

import pytest

from sse_asgi.demo.model import NGramModel, embedded_text

PROMPTS = [
    "What did the Queen say?",
    "Alice opened the door and",
    "",
    "xyzzy",
    "日本語?",
    "\x00 \ud83d",
]


@pytest.fixture(scope="module")
def model():
    return NGramModel(embedded_text())


@pytest.fixture(scope="module")
def again():
    """Give another model of the same text."""
    return NGramModel(embedded_text())


@pytest.fixture(scope="module")
def stories(model):
    return [write(model, "Tell me a story.", seed=seed) for seed in range(60)]


def write(model, prompt, **options):
    return "".join(model.generate(prompt, **options))


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_seed_fixes_the_passage(model, again, prompt):
    for seed in range(3):
        assert write(model, prompt, seed=seed) == write(again, prompt, seed=seed)


def test_seeds_and_no_seed_vary_the_passage(model):
    assert len({write(model, "The Queen", seed=seed) for seed in range(20)}) == 20
    assert len({write(model, "The Queen") for _ in range(5)}) == 5


def test_does_not_touch_the_global_random_state(model):
    state = random.getstate()
    write(model, "The Queen")
    assert random.getstate() == state


def test_trains_in_less_than_half_a_second():
    text = embedded_text()
    times = []
    for _ in range(3):
        begun = time.process_time()
        NGramModel(text)
        times.append(time.process_time() - begun)
    assert min(times) < 0.5


def test_writes_token_by_token_and_within_its_length(model):
    for seed in range(50):
        tokens = list(model.generate("The Queen", seed=seed, max_tokens=40))
        assert 40 <= len(tokens) <= 40 * 1.5 + 3  # the closing marks come on top
        assert all(tokens)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_quotation_marks_and_brackets_come_in_pairs(model, prompt):
    closes = {"\u2018": "\u2019", "\u201c": "\u201d", "(": ")"}
    for seed in range(12):
        expected = []
        for token in model.generate(prompt, seed=seed):
            mark = token.strip()
            if mark in closes:
                expected.append(closes[mark])
            elif mark in closes.values():
                assert expected.pop() == mark
        assert expected == []


def test_has_no_blank_beginning_end_or_double_gap(stories):
    for text in stories:
        assert text == text.strip()
        assert not re.search(r"\n{3}|  | \n|\n ", text)


def test_most_passages_end_with_a_sentence(stories):
    whole = [text for text in stories if re.search(r"[.!?][\u2019\u201d)]*\Z", text)]
    assert len(whole) > 48


@pytest.mark.parametrize(
    ("prompt", "beginning"),
    [
        ("Alice opened the door and", "…and"),
        ("the Quee", "…Queen"),
        ("I met the hatter,", "…Hatter"),
        ("WONDERFUL", "…wonder"),
    ],
)
def test_a_prompt_that_breaks_off_is_carried_on(model, prompt, beginning):
    for seed in range(10):
        assert write(model, prompt, seed=seed).startswith(beginning)


@pytest.mark.parametrize("name", ["Gryphon", "Caterpillar", "Duchess", "Dormouse"])
@pytest.mark.matrix("name")
def test_a_name_in_the_prompt_comes_up_more_often(model, stories, name):
    asked = [
        write(model, f"Tell me about the {name}.", seed=seed) for seed in range(60)
    ]  # the seeds of the stories
    assert sum(name in text for text in asked) > 2 * sum(name in text for text in stories)


def test_is_no_copy_of_the_book(model):
    book = embedded_text()
    copies = [write(model, "", seed=seed) in book for seed in range(50)]
    assert not any(copies)


def test_a_low_temperature_repeats_itself_more(model):
    def distinct(temperature):
        texts = (write(model, "", seed=s, temperature=temperature) for s in range(15))
        return len({word for text in texts for word in text.split()})

    assert distinct(0.1) < distinct(2.0)


@pytest.mark.parametrize("options", [{"temperature": 0}, {"temperature": -1}, {"max_tokens": 0}])
def test_a_value_that_cannot_work_is_refused_at_once(model, options):
    (name,) = options
    with pytest.raises(ValueError, match=name):
        model.generate("hi", **options)


@pytest.mark.parametrize("text", ["", "\n\n", "... !", "12 34"])
def test_a_text_without_words_cannot_be_learned(text):
    with pytest.raises(ValueError, match="holds no words"):
        NGramModel(text)


@pytest.mark.parametrize("text", ["word", "One. Two.", "a b c d\n\na b"])
def test_a_tiny_text_is_enough(text):
    assert write(NGramModel(text), "anything", seed=1, max_tokens=20)


def test_the_text_is_the_one_that_the_notice_describes():
    folder = files("sse_asgi.demo") / "text"
    notice = (folder / "NOTICE").read_text(encoding="utf-8")
    assert "public" in notice
    digest = hashlib.sha256((folder / "wonderland.txt").read_bytes()).hexdigest()
    assert digest == "0d7689c6fb8da7e14b24da23229b13c122490ae08f2111be19f69e34ae42b434"
    assert 100_000 < len(embedded_text()) < 200_000
