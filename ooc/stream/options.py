"""The options of the stream, each written once: name, type, default, what it means, its check."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ooc.core.errors import InputError
from ooc.core.numbers import check_counts, entry_of

FIT, AUTO = "fit", "auto"


def _option(default: Any, help_text: str, unset: str | None = None, *, bits: bool = True) -> Any:
    """Return a field: `unset` says what None means, `bits` whether a run's bits depend on it."""
    return field(default=default, metadata={"help": help_text, "unset": unset, "bits": bits})


@dataclass(frozen=True)
class StreamOptions:
    """How rows are read and mixed; what Loader, Trainer, noise measurement and shell share.

    Each field's metadata says what it is for. Beyond that:

    window
        "auto" reads a sample of blocks and takes the fewest by which the variance of batch means
        is at most 1.05 times that of a full shuffle, and 64 MiB at least, see
        `ooc.stream.window_advice`. None is "fit".
    missing_values
        What is done where an array's attributes declare that a value is missing; it is read as
        NaN. "raise" names array, row and column, "drop" leaves out the row, "fill" puts a number
        there. The last two hold for a NaN of any array.
    lanes
        L; each batch takes B/L rows of every lane, see `ooc.stream.order.Order`.
    sampling
        "once": each row once an epoch. Or an epoch of N independent draws with replacement, in
        which row i comes up, on average and exactly:

        - "replacement": once;
        - "weight": N w_i / W times, w_i being its entry in the weight array;
        - "balanced": N / (C n_c) times, for each of the n_c rows of class c of C.

        `Batch.importance` then holds W / (N w_i), by which any mean is unbiased again. A model
        learns from drawn rows as they come: importance weights are for estimates.

    Raises
    ------
    InputError
        If an option cannot be used, or not beside another.

    Examples
    --------
    >>> StreamOptions(memory="512MiB").window, StreamOptions(window="12").window
    ('auto', 12)
    """

    memory: str | int = _option(
        "1GiB", "Bytes that the process may use, such as 512MiB.", bits=False
    )
    seed: int = _option(0, "Everything random is a function of it.")
    shuffle: str = _option("blocks", "{shuffles}.")
    window: int | str | None = _option(
        AUTO,
        "Blocks of a window: a number, fit (as many as there is room for), or auto (the fewest "
        "that a sample of blocks says mix well).",
    )
    lanes: int = _option(1, "Fixed shares of the blocks that each batch takes from.")
    sampling: str = _option("once", "once, {samplings}: which rows an epoch uses.")
    readers: int | None = _option(
        None, "Threads that read.", unset="one a core, 6 to 16", bits=False
    )
    io: str = _option(
        AUTO, "auto, direct (past the page cache) or buffered (dropped behind).", bits=False
    )
    on_bad_chunk: str = _option(
        "raise", "raise, or skip: leave out rows that cannot be read, and count them."
    )
    missing_values: str = _option(
        "raise",
        "raise, drop (leave out rows that lack a value, and count them), fill (with 0), "
        "fill:NUMBER, or keep (as NaN).",
    )
    block_rows: int | None = _option(
        None, "Rows of a block.", unset="a chunk of the features, or a few small ones"
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "window", _blocks(self.window))
        if self.on_bad_chunk not in ("raise", "skip"):
            raise InputError(f"on_bad_chunk is one of raise, skip, not {self.on_bad_chunk!r}")
        check_counts(readers=self.readers, block_rows=self.block_rows)
        if self.missing_values != "raise":
            self._check_missing_values()
        if self.sampling != "once":
            self._check_sampling()

    def _check_missing_values(self) -> None:
        # It needs the store, which the shell does not load to show its help.
        from ooc.stream.missing_values import rule_of

        if rule_of(self.missing_values).name == "drop" and self.sampling != "once":
            raise InputError(
                f'sampling={self.sampling!r} needs every row; use missing_values="fill", or '
                "remove rows that lack a value"
            )

    def _check_sampling(self) -> None:
        # They need the store and the compiler, which the shell does not load to show its help.
        from ooc.stream.sampling import SAMPLINGS

        name = self.sampling
        entry_of("sampling", {"once": None, **SAMPLINGS}, name)
        if self.shuffle != "blocks":
            raise InputError(f'sampling={name!r} draws at random; it needs shuffle="blocks"')
        if self.lanes != 1:
            raise InputError(f"sampling={name!r} goes with one lane, not with {self.lanes}")
        if self.on_bad_chunk != "raise":
            raise InputError(
                f'sampling={name!r} needs every chunk; use on_bad_chunk="raise", or repair the data'
            )

    @property
    def blocks(self) -> int | None:
        """Blocks of a window at most, where they were given as a number."""
        return self.window if isinstance(self.window, int) else None

    def to_config(self) -> dict[str, Any]:
        """Return the options on which a run's bits depend, JSON-ready."""
        kept = [each.name for each in fields(self) if each.metadata["bits"]]
        return {name: getattr(self, name) for name in kept}


NAMES = tuple(each.name for each in fields(StreamOptions))


def make_stream(
    stream: StreamOptions | None, options: Mapping[str, Any], known: tuple[str, ...] = NAMES
) -> StreamOptions:
    """Return options of the stream with some of them replaced; refuse those that are not known."""
    for name in options:
        if name not in known:
            raise InputError(
                f"there is no option {name!r} here; those of the stream are: {', '.join(known)}"
            )
    return replace(StreamOptions() if stream is None else stream, **options)


def _blocks(window: int | str | None) -> int | str:
    """Return the window's blocks, "auto" or "fit"."""
    if isinstance(window, str) and window.isdigit():
        return int(window)
    if isinstance(window, str) and window not in (AUTO, FIT):
        raise InputError(f'window is a number of blocks, "auto" or "fit", not {window!r}')
    return FIT if window is None else window
