"""What stops a command of the runner: a message for the person at the terminal, and an exit code."""

from __future__ import annotations

from headwater.errors import HeadwaterError

EXIT_FAILED = 1
EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h: a setting is wrong, starting again will not help.
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it.


class StackError(HeadwaterError):
    """The command cannot go on. ``str()`` is what the user reads; ``exit_code`` is what the shell gets."""

    def __init__(self, message: str, *, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code
