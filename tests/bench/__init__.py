"""Benchmarks: sse_asgi beside its peers, each a real server process on one core.

Run `python -m tests.bench` from the root of the repository (extra `bench`).
"""
