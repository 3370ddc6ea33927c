"""Random one-place mutants, which tests must catch: `python -m tests.mutants`."""
