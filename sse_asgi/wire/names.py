"""Names and ids: those that users give, and those that the library makes."""

from secrets import token_hex

from sse_asgi.errors import shown


def check_name(field: str, value: object, what: str) -> None:
    """Raise an error that says `what` to give, unless the value is a str with something in it."""
    if not isinstance(value, str):
        raise TypeError(
            f"{field} must be a str, not {shown(value)} ({type(value).__name__}): give {what}"
        )
    if not value:
        raise ValueError(f"{field} must not be empty: give {what}")


def make_id(prefix: str) -> str:
    """Return an id that nobody can guess, and that no other stream has: 128 random bits."""
    return prefix + token_hex(16)
