"""Rows on their way: pieces are read, cut into chunks, encoded and written, in order.

Threads read and encode; what is under way is bounded. Pieces come in order, so that what is written
is a function of the source alone.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ooc.conversion.layout import Layout
from ooc.conversion.notes import Notes, Standing
from ooc.conversion.source import Piece, Source, Texts
from ooc.conversion.values import Assembled, Categories, assemble
from ooc.core.blas import one_thread
from ooc.core.errors import DataError
from ooc.store.writer import Columns, Encoded, Writer
from ooc.stream.missing_values import MissingRule

# Chunks that a thread encodes at once, in bytes.
GROUP_BYTES = 2**21
# A column with more different texts is no category.
MOST_CATEGORIES = 2**16

Item = TypeVar("Item")
Result = TypeVar("Result")
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Group:
    """Chunks that follow each other in one shard; `end` is where a shard ends with the last one."""

    chunks: Sequence[tuple[Columns, int]]
    end: tuple[Standing, dict[str, int]] | None


def in_order(
    pool: Executor, work: Callable[[Item], Result], items: Iterable[Item], depth: int
) -> Iterator[Result]:
    """Yield results in the order of the items, of which so many are under way at a time."""
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def copy(
    source: Source,
    layout: Layout,
    writer: Writer,
    notes: Notes,
    rule: MissingRule,
    threads: int,
    depth: int,
    advance: Advance,
) -> Standing:
    """Write all rows of a source, from where the notes say on; return what it came to.

    `advance` is told the rows that are written, often.
    """
    standing = notes.standing(writer)
    advance(standing.rows_written)
    skips = iter([standing.skip])

    def read(piece: Piece, skip: int) -> tuple[Piece, Assembled]:
        made = assemble(layout, piece.read(), piece.first, skip, rule, piece.place)
        return piece, made

    def encode(group: Group) -> tuple[list[tuple[Encoded, int]], Group]:
        return [(writer.encode(columns, rows), rows) for columns, rows in group.chunks], group

    # Whether values are missing is found by products, of which each thread makes its own.
    with one_thread(), ThreadPoolExecutor(threads, thread_name_prefix="ooc-convert") as pool:
        found = source.pieces(layout.names, standing.position)
        pieces = ((piece, next(skips, 0)) for piece in found)
        assembled = in_order(pool, lambda each: read(*each), pieces, depth)
        cutter = _Cutter(layout, writer, standing)
        encoded = in_order(pool, encode, cutter.groups(assembled), threads + 1)
        try:
            _write(writer, notes, encoded, standing.shards, advance)
        finally:
            encoded.close()  # type: ignore[attr-defined]
            assembled.close()  # type: ignore[attr-defined]
    cutter.finish()
    return cutter.standing


class _Cutter:
    """Cuts pieces into chunks, and counts."""

    def __init__(self, layout: Layout, writer: Writer, standing: Standing) -> None:
        self._layout, self._writer, self.standing = layout, writer, standing
        self._categories = {
            output.name: Categories(
                output.column.name, standing.categories.get(output.column.name, ())
            )
            for output in layout.outputs
            if output.kind == "text"
        }
        self._before = {each.name: len(each.known) for each in self._categories.values()}
        self._begun: dict[str, np.ndarray] = {}
        self._begun_rows = 0
        self._ready: list[tuple[Columns, int]] = []

    def groups(self, pieces: Iterable[tuple[Piece, Assembled]]) -> Iterator[Group]:
        """Yield groups of chunks, none of them in two shards; the last one ends the last shard."""
        writer, standing = self._writer, self.standing
        shard_left = writer.shard_rows
        group_rows = max(1, GROUP_BYTES // (writer.chunk_rows * self._layout.row_bytes))
        for piece, made in pieces:
            arrays, done, counted = self._coded(made), 0, 0
            while done < made.left:
                part = min(made.left - done, writer.chunk_rows - self._begun_rows)
                self._take(arrays, done, part)
                done, shard_left = done + part, shard_left - part
                if shard_left == 0:
                    read = made.read if done == made.left else self._read_until(made, done)
                    self._count(made, counted, read)
                    counted, shard_left = read, writer.shard_rows
                    yield self._group(self._end(piece, made, read))
                elif len(self._ready) >= group_rows:
                    yield self._group(None)
            self._count(made, counted, made.read)
        if self._begun_rows:
            self._ready.append((self._begun, self._begun_rows))
            self._begun, self._begun_rows = {}, 0
        if shard_left < writer.shard_rows:
            standing.rows_written += writer.shard_rows - shard_left
            standing.shards += 1
            yield self._group(None)

    def _coded(self, made: Assembled) -> dict[str, np.ndarray]:
        """Return a piece's arrays with the codes of all pieces."""
        arrays: dict[str, np.ndarray] = {}
        for name, values in made.arrays.items():
            if not isinstance(values, Texts):
                arrays[name] = values
                continue
            categories = self._categories[name]
            arrays[name] = categories.codes(values)
            if len(categories.known) > MOST_CATEGORIES:
                raise DataError(
                    f"column {categories.name} holds text, of which {len(categories.known):,} are "
                    f"different within {self.standing.rows_read + made.read:,} rows: above "
                    f"{MOST_CATEGORIES:,} it is no category; leave it out with "
                    f"--without {categories.name}"
                )
        return arrays

    def _take(self, arrays: dict[str, np.ndarray], start: int, rows: int) -> None:
        """Add rows to the chunk that is begun; a whole one is a view of its piece."""
        chunk_rows = self._writer.chunk_rows
        views = {name: values[start : start + rows] for name, values in arrays.items()}
        if rows == chunk_rows:
            self._ready.append((views, rows))
            return
        if not self._begun:
            self._begun = {
                name: np.empty((chunk_rows, *view.shape[1:]), view.dtype)
                for name, view in views.items()
            }
        for name, view in views.items():
            self._begun[name][self._begun_rows : self._begun_rows + rows] = view
        self._begun_rows += rows
        if self._begun_rows == chunk_rows:
            self._ready.append((self._begun, chunk_rows))
            self._begun, self._begun_rows = {}, 0

    def _group(self, end: tuple[Standing, dict[str, int]] | None) -> Group:
        ready, self._ready = self._ready, []
        return Group(ready, end)

    def _read_until(self, made: Assembled, left: int) -> int:
        """Return how many rows were read up to the first `left` of those that are left."""
        return left if made.rows is None else int(made.rows[left - 1]) + 1

    def _count(self, made: Assembled, start: int, stop: int) -> None:
        self.standing.rows_read += stop - start
        for name, rows in made.lacking.items():
            if count := int(np.count_nonzero(rows[start:stop])):
                self.standing.missing[name] += count

    def _end(self, piece: Piece, made: Assembled, read: int) -> tuple[Standing, dict[str, int]]:
        """Return where the next shard begins, with what was counted until then."""
        standing = self.standing
        standing.shards += 1
        standing.rows_written += self._writer.shard_rows
        known = {each.name: list(each.known) for each in self._categories.values()}
        # The piece may have been begun in the midst of it.
        skip = made.first - piece.first + read
        told = Standing(
            piece.position, skip, standing.shards, standing.rows_written, standing.rows_read,
            Counter(standing.missing), known,
        )  # fmt: skip
        before, self._before = self._before, {name: len(each) for name, each in known.items()}
        return told, before

    def finish(self) -> None:
        """Note the categories of all rows."""
        self.standing.categories = {
            each.name: list(each.known) for each in self._categories.values()
        }


def _write(
    writer: Writer,
    notes: Notes,
    groups: Iterable[tuple[list[tuple[Encoded, int]], Group]],
    shard: int,
    advance: Advance,
) -> None:
    """Write encoded chunks to shards; a whole one is synced aside, and noted then."""
    files, append = ExitStack(), None
    with ThreadPoolExecutor(1, thread_name_prefix="ooc-convert-sync") as syncing:
        closing: deque[Future[None]] = deque()
        try:
            for encoded, group in groups:
                if append is None:
                    append = files.enter_context(writer.open_shard(shard))
                for chunk, rows in encoded:
                    append(chunk, rows)
                advance(writer.rows)
                if group.end is not None:
                    closing.append(syncing.submit(_close, files.pop_all(), notes, group.end))
                    append, shard = None, shard + 1
                if len(closing) > 1:
                    closing.popleft().result()
            closing.append(syncing.submit(files.pop_all().close))
            for each in closing:
                each.result()
        except BaseException as error:
            # What is not whole does not get its name.
            files.pop_all().__exit__(type(error), error, error.__traceback__)
            raise


def _close(files: ExitStack, notes: Notes, end: tuple[Standing, dict[str, int]]) -> None:
    files.close()
    notes.save(*end)
