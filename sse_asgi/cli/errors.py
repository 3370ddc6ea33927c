"""What ends a command."""


class CommandError(Exception):
    """A command cannot go on; its message is one line for the person at the terminal.

    Args:
        message: What is wrong and what to do.
        status: The exit status: 2 for what was typed wrongly, 1 for what failed.
    """

    def __init__(self, message: str, *, status: int = 2) -> None:
        super().__init__(message)
        self.status = status
