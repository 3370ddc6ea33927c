"""How many examples hypothesis draws where a test needs more or fewer than usual."""

from hypothesis import settings


def examples(number: int) -> settings:
    """Draw `number` examples with `pytest --all`, and as much less without as other tests do."""
    every, now = settings.get_profile("every example"), settings()
    return settings(max_examples=max(1, number * now.max_examples // every.max_examples))
