"""The errors that a caller is meant to see: one line each, with what to do next."""


class InputError(ValueError):
    """Something that the user gave is wrong; nothing was done.

    The message is one line: what is wrong, where, both numbers, what to do.
    The command line prints it and exits with status 2.
    """


class TooSmallError(InputError):
    """A budget into which something does not fit; `needed` bytes are one into which it does."""

    def __init__(self, message: str, needed: int) -> None:
        super().__init__(message)
        self.needed = needed


class DataError(InputError):
    """Stored data cannot be used: a chunk that does not decode, a value that is not finite."""


class LostError(DataError):
    """Those who served a run are gone: steps that were taken are whole, and none can be taken."""


class DivergedError(ArithmeticError):
    """Loss or parameters stopped being finite although the data are: the step was too long."""
