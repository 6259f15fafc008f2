"""Whether a window's batches are worked off by one thread or by several: what was faster."""


class ParallelChoice:
    """Chooses the serial or the parallel loop by measurement, one window after the other.

    The first windows run serial, the next ones parallel; of each kind the first warms up and the
    second is measured. Both loops give the same bits, so that the choice is only one of speed.

    Parameters
    ----------
    possible
        Whether there is a choice at all: cores to share, and batches of several large shares.
    certain
        Whether several threads are faster in any case.

    Examples
    --------
    >>> choice = ParallelChoice(possible=True)
    >>> for seconds in (9.0, 2.0, 9.0, 1.0):
    ...     choice.note(rows=100, seconds=seconds)
    ...     choice.end_window()
    >>> choice.parallel
    True
    """

    def __init__(self, possible: bool, certain: bool = False) -> None:
        self._rates: list[float] = []
        self._possible, self._certain = possible, certain
        self._rows, self._seconds = 0, 0.0

    @property
    def parallel(self) -> bool:
        """Whether the window at hand is to run parallel."""
        tried = len(self._rates)
        if self._certain:
            return True
        if not self._possible or tried < 2:
            return False
        return tried < 4 or self._rates[3] > self._rates[1]

    def note(self, rows: int, seconds: float) -> None:
        """Note how long a part of a window took."""
        self._rows, self._seconds = self._rows + rows, self._seconds + seconds

    def end_window(self) -> None:
        """Take what was noted as the rate of a window."""
        if len(self._rates) < 4:
            self._rates.append(self._rows / max(self._seconds, 1e-9))
        self._rows, self._seconds = 0, 0.0
