"""The optional dependencies of the commands."""

from importlib.util import find_spec

from sse_asgi.cli.errors import CommandError


def require(*modules: str, extra: str = "demo") -> None:
    """Check that the modules of an extra are installed.

    Raises:
        CommandError: If one is not; the message has the command that installs it.
    """
    missing = [module for module in modules if not _is_installed(module)]
    if missing:
        raise CommandError(f'needs {", ".join(missing)}: pip install "sse-asgi[{extra}]"')


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
