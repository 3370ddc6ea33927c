"""A framing of a user's whose encoder raises in one of its methods."""

from typing import ClassVar

from sse_asgi import TextFraming


class FailingFraming:
    """Frames text, until one method of its encoder is called: that raises."""

    headers: ClassVar = {}
    decoder = TextFraming().decoder

    def __init__(self, method, error):
        self._method, self._error = method, error

    def encoder(self):
        return _Encoder(self._method, self._error)


class _Encoder:
    def __init__(self, method, error):
        self._inner, self._method, self._error = TextFraming().encoder(), method, error

    def __getattr__(self, name):
        return self._fail if name == self._method else getattr(self._inner, name)

    def _fail(self, *_):
        raise self._error
