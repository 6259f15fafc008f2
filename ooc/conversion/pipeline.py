"""Rows on their way: pieces are read, cut into chunks, encoded and written, in order.

Threads read and encode; what is under way is bounded. Pieces come in order, so that what is written
is a function of the source alone.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from ooc.conversion.notes import NO_SPARSE, Notes, SparseWriters, Standing
from ooc.conversion.outputs import Layout
from ooc.conversion.source import Piece, Source, Texts
from ooc.conversion.sparse import SparseValues
from ooc.conversion.sparse_chunks import PartChunk, SparseCutter, Tails
from ooc.conversion.text_hash import join_sketches
from ooc.conversion.values import Assembled, Categories, assemble
from ooc.core.blas import one_thread
from ooc.core.errors import DataError
from ooc.store.fields import encode_chunk
from ooc.store.sparse import VALUES
from ooc.store.writer import Columns, Encoded, Writer
from ooc.stream.missing_values import MissingRule

# Chunks that a thread encodes at once, in bytes.
GROUP_BYTES = 2**21
# Pieces that are read before they are needed: some take longer, such as the first of a row group.
AHEAD = 3
# Files that wait for the disk, for which writing goes on.
MOST_CLOSING = 1
# A column with more different texts is no category.
MOST_CATEGORIES = 2**16

Item = TypeVar("Item")
Result = TypeVar("Result")
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Work:
    """What is converted and how.

    Attributes
    ----------
    threads, depth, ahead
        See `ooc.conversion.budget.Fit`.
    """

    source: Source
    layout: Layout
    rule: MissingRule
    threads: int
    depth: int
    ahead: int = AHEAD


@dataclass(frozen=True)
class Growing:
    """A store that grows, what writes its sparse matrices, and the notes of how far it is."""

    writer: Writer
    notes: Notes
    sparse: SparseWriters = field(default_factory=lambda: NO_SPARSE)


@dataclass(frozen=True)
class End:
    """Where a shard ends: what is noted of it.

    Attributes
    ----------
    before
        Numbers of categories until the shard began.
    tails
        What of sparse matrices is in no chunk yet.
    """

    standing: Standing
    before: dict[str, int]
    tails: dict[str, Tails]


@dataclass(frozen=True)
class Group:
    """Chunks that follow each other in one shard, which `end` says to end with the last one.

    Attributes
    ----------
    parts
        Chunks of sparse matrices, by name, which end anywhere.
    """

    chunks: Sequence[tuple[Columns, int]]
    end: End | None
    parts: Sequence[tuple[str, PartChunk]] = ()


@dataclass(frozen=True)
class EncodedGroup:
    """A group as it is written; `parts` are (matrix, array of it, chunk)."""

    chunks: Sequence[tuple[Encoded, int]]
    parts: Sequence[tuple[str, str, bytes]]
    end: End | None


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


def made_ahead(items: Iterator[Item], count: int) -> Iterator[Item]:
    """Yield items of which the next so many are made meanwhile, by a thread of its own."""
    if count == 0:
        yield from items
        return
    with ThreadPoolExecutor(1, thread_name_prefix="ooc-convert-read") as reading:
        following = deque(reading.submit(next, items, None) for _ in range(count))
        try:
            while (item := following.popleft().result()) is not None:
                following.append(reading.submit(next, items, None))
                yield item
        finally:
            for each in following:
                each.cancel()


def copy(work: Work, store: Growing, advance: Advance) -> Standing:
    """Write all rows of a source, from where the notes say on; return what it came to.

    `advance` is told the rows that are written, often.
    """
    layout, writer, notes, sparse = work.layout, store.writer, store.notes, store.sparse
    standing = notes.standing(writer, sparse)
    advance(standing.rows_written)
    skips = iter([standing.skip])

    def read(piece: Piece, skip: int) -> tuple[Piece, Assembled]:
        made = assemble(layout, piece.read(), piece.first, skip, work.rule, piece.place)
        return piece, made

    def encode(group: Group) -> EncodedGroup:
        return EncodedGroup(
            [(writer.encode(columns, rows), rows) for columns, rows in group.chunks],
            [
                (name, part, encode_chunk(chunk, sparse[name].field.compression))
                for name, (part, chunk) in group.parts
            ],
            group.end,
        )

    # Whether values are missing is found by products, of which each thread makes its own.
    with one_thread(), ThreadPoolExecutor(work.threads, thread_name_prefix="ooc-convert") as pool:
        found = work.source.pieces(layout.names, standing.position)
        pieces = ((piece, next(skips, 0)) for piece in made_ahead(found, work.ahead))
        assembled = in_order(pool, lambda each: read(*each), pieces, work.depth)
        cutter = _Cutter(layout, writer, standing, _sparse_cutters(sparse, notes, standing))
        encoded = in_order(pool, encode, cutter.groups(assembled), work.threads + 1)
        try:
            _write(store, encoded, standing.shards, advance)
        finally:
            encoded.close()  # type: ignore[attr-defined]
            assembled.close()  # type: ignore[attr-defined]
    cutter.finish()
    return cutter.standing


def _sparse_cutters(
    sparse: SparseWriters, notes: Notes, standing: Standing
) -> dict[str, SparseCutter]:
    """Return what cuts sparse matrices, from where they stand on."""
    tails = notes.tails(standing)
    return {
        name: SparseCutter(writer.field, writer.chunks(VALUES), tails.get(name, {}))
        for name, writer in sparse.items()
    }


class _Cutter:
    """Cuts pieces into chunks, and counts."""

    def __init__(
        self,
        layout: Layout,
        writer: Writer,
        standing: Standing,
        sparse: Mapping[str, SparseCutter],
    ) -> None:
        self._layout, self._writer, self.standing = layout, writer, standing
        self._sparse = sparse
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
                elif len(self._ready) >= group_rows or self._sparse_ready >= GROUP_BYTES:
                    yield self._group(None)
            self._count(made, counted, made.read)
        if self._begun_rows:
            self._ready.append((self._begun, self._begun_rows))
            self._begun, self._begun_rows = {}, 0
        if shard_left < writer.shard_rows:
            standing.rows_written += writer.shard_rows - shard_left
            standing.shards += 1
        last = [(name, part) for name, each in self._sparse.items() for part in each.last()]
        if self._ready or last:
            yield Group(self._take_ready(), None, last)

    def _coded(self, made: Assembled) -> dict[str, np.ndarray | SparseValues]:
        """Return a piece's arrays with the codes of all pieces."""
        arrays: dict[str, np.ndarray | SparseValues] = {}
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
                    f"{MOST_CATEGORIES:,} it is no category; hash it with --hash-text "
                    f"{categories.name}, or leave it out with --without {categories.name}"
                )
        return arrays

    def _take(self, arrays: Mapping[str, np.ndarray | SparseValues], start: int, rows: int) -> None:
        """Add rows to the chunk that is begun; a whole one is a view of its piece."""
        chunk_rows = self._writer.chunk_rows
        views: dict[str, np.ndarray] = {}
        for name, values in arrays.items():
            if isinstance(values, SparseValues):
                self._sparse[name].add(values.cut(start, start + rows))
            else:
                views[name] = values[start : start + rows]
        if rows == chunk_rows:
            self._ready.append((views, rows))
            return
        if not self._begun_rows:
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

    @property
    def _sparse_ready(self) -> int:
        return sum(each.ready_bytes for each in self._sparse.values())

    def _take_ready(self) -> list[tuple[Columns, int]]:
        ready, self._ready = self._ready, []
        return ready

    def _group(self, end: End | None) -> Group:
        parts = [(name, part) for name, each in self._sparse.items() for part in each.ready()]
        return Group(self._take_ready(), end, parts)

    def _read_until(self, made: Assembled, left: int) -> int:
        """Return how many rows were read up to the first `left` of those that are left."""
        return left if made.rows is None else int(made.rows[left - 1]) + 1

    def _count(self, made: Assembled, start: int, stop: int) -> None:
        self.standing.rows_read += stop - start
        for name, rows in made.lacking.items():
            if count := int(np.count_nonzero(rows[start:stop])):
                self.standing.missing[name] += count
        # Those of all of the piece: what is counted twice, as after a kill, counts once.
        join_sketches(self.standing.sketches, made.sketches)

    def _end(self, piece: Piece, made: Assembled, read: int) -> End:
        """Return where the next shard begins, with what was counted until then."""
        standing = self.standing
        standing.shards += 1
        standing.rows_written += self._writer.shard_rows
        known = {each.name: list(each.known) for each in self._categories.values()}
        # The piece may have been begun in the midst of it.
        skip = made.first - piece.first + read
        told = Standing(
            piece.position, skip, standing.shards, standing.rows_written, standing.rows_read,
            Counter(standing.missing), known, sketches=dict(standing.sketches),
        )  # fmt: skip
        before, self._before = self._before, {name: len(each) for name, each in known.items()}
        return End(told, before, {name: each.tails() for name, each in self._sparse.items()})

    def finish(self) -> None:
        """Note what is known when all rows were read."""
        self.standing.nonzeros = {name: each.nonzeros for name, each in self._sparse.items()}
        self.standing.categories = {
            each.name: list(each.known) for each in self._categories.values()
        }


def _write(store: Growing, groups: Iterable[EncodedGroup], shard: int, advance: Advance) -> None:
    """Write encoded chunks to shards; a whole one is synced aside, and noted then."""
    writer, notes, sparse = store.writer, store.notes, store.sparse
    files, append = ExitStack(), None
    with ThreadPoolExecutor(1, thread_name_prefix="ooc-convert-sync") as syncing:
        closing: deque[Future[None]] = deque()
        try:
            for group in groups:
                if append is None and group.chunks:
                    append = files.enter_context(writer.open_shard(shard))
                for chunk, rows in group.chunks:
                    assert append is not None
                    append(chunk, rows)
                for name, part, encoded in group.parts:
                    if (whole := sparse[name].append(part, encoded)) is not None:
                        closing.append(syncing.submit(whole))
                advance(writer.rows)
                if group.end is not None:
                    group.end.standing.sparse = {name: s.state() for name, s in sparse.items()}
                    syncs = [each.syncs() for each in sparse.values()]
                    job = (files.pop_all(), syncs, sparse, notes, group.end)
                    closing.append(syncing.submit(_close, *job))
                    append, shard = None, shard + 1
                while len(closing) > MOST_CLOSING:
                    closing.popleft().result()
            closing.append(syncing.submit(files.pop_all().close))
            for waiting in closing:
                waiting.result()
        except BaseException as error:
            # What is not whole does not get its name.
            files.pop_all().__exit__(type(error), error, error.__traceback__)
            for each in sparse.values():
                each.close()
            raise


def _close(
    files: ExitStack,
    syncs: Sequence[Callable[[], None]],
    sparse: SparseWriters,
    notes: Notes,
    end: End,
) -> None:
    files.close()
    for sync in syncs:
        sync()
    notes.save(end.standing, end.before, end.tails)
    for name, each in sparse.items():
        each.keep(end.standing.sparse[name])
