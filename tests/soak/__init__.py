"""A long run of many streams that go wrong at random: `python -m tests.soak`."""
