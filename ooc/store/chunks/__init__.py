"""Bytes of chunks into memory that the caller owns: one interface for every store and format."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from zarr.abc.store import Store

from ooc.core.process import allowed_bytes
from ooc.store.chunks.at_once import compilation, loaded_kernel
from ooc.store.chunks.codecs import NotNativeError, most_stored_bytes
from ooc.store.chunks.decoded import DecodedReader
from ooc.store.chunks.files import BATCH_BYTES, CACHED_SHARE, FileReader, choose_mode
from ooc.store.chunks.general import DECODE_COPIES, ZarrReader
from ooc.store.chunks.held import HeldReader
from ooc.store.chunks.joined import JoinedReader, aside_bytes
from ooc.store.chunks.labelled import LABEL_BYTES, TEXT_BYTES, LabelReader
from ooc.store.chunks.layout import ChunkLayout, native_layout
from ooc.store.chunks.native import Files, NativeReader
from ooc.store.chunks.objects import ObjectReader
from ooc.store.chunks.row_reader import BadChunkError, RowReader
from ooc.store.chunks.sequences import SequenceReader
from ooc.store.chunks.sparse import CsrReader
from ooc.store.chunks.stacked import StackedReader
from ooc.store.chunks.stacked_sparse import StackedCsrReader
from ooc.store.chunks.transformed import TransformedReader
from ooc.store.conventions import PIECE_BYTES
from ooc.store.dataset import ArraySpec, Dataset, open_zarr_array
from ooc.store.joined import JoinedSpec, Stripe
from ooc.store.local import METADATA
from ooc.store.remote import RemoteStore
from ooc.store.sequence_spec import SequenceSpec
from ooc.store.sparse import SparseSpec
from ooc.store.stacked import StackedSpec
from ooc.store.stacked_sparse import StackedSparseSpec
from ooc.store.transforms import TransformedSpec

if TYPE_CHECKING:
    from ooc.core.compile_child import Compilation

__all__ = [
    "BadChunkError",
    "ReadPath",
    "RowReader",
    "open_reader",
    "parts_of",
    "read_path",
    "reading_kernels",
    "scratch_bytes",
]


@dataclass(frozen=True)
class ReadPath:
    """Which path an array takes: native or not, in which mode, and why."""

    native: bool
    mode: str
    reason: str

    def describe(self) -> str:
        """Say it in a few words, such as 'zarr-python: its codec is delta'."""
        return f"{'native, ' if self.native else ''}{self.mode}: {self.reason}"


_MODES = {
    "direct": "past the page cache",
    "buffered": "through the page cache, dropped behind",
    "cached": "through the page cache, as it fits into memory",
    "requests": "from a server, neighbours together",
}


def read_path(dataset: Dataset, name: str, io: str = "auto") -> ReadPath:
    """Tell which path an array takes; `io` is as in `ooc.store.chunks.files.choose_mode`."""
    spec = dataset.arrays[name]
    stored = parts_of(dataset, spec)
    inner = spec.source if isinstance(spec, SequenceSpec) else spec
    if not isinstance(inner, JoinedSpec):
        # Of sparse rows what is told is how their non-zeros are read.
        return _resolve(*stored[0], io)[0]
    paths = {part.name: _resolve(alone, part, io)[0] for alone, part in stored}
    first, *others = paths.values()
    if all(path == first for path in others):
        return first
    told = "; ".join(f"{part} {path.describe()}" for part, path in paths.items())
    return ReadPath(all(path.native for path in paths.values()), "part by part", told)


def open_reader(dataset: Dataset, name: str, io: str = "auto") -> RowReader:
    """Open an array for reading, by the native path where it covers the array.

    Its rows are decoded as its attributes declare; `Dataset.undecoded` reads them as stored.
    """
    (spec,) = dataset.specs((name,))
    if isinstance(spec, StackedSpec | StackedSparseSpec):
        # What all of them take together decides how each is read.
        if io == "auto" and spec.row_bytes * spec.shape[0] > allowed_bytes() // CACHED_SHARE:
            io = "direct"
        found = [open_reader(alone, part.name, io) for alone, part in dataset.stacks(spec)]
        if isinstance(spec, StackedSparseSpec):
            return StackedCsrReader(spec, dataset.path, found)
        return StackedReader(spec, dataset.path, found, [part.dtype for part in spec.parts])
    if isinstance(spec, SequenceSpec):
        plain = replace(dataset, arrays={**dataset.arrays, name: spec.source})
        return SequenceReader(spec, dataset.path, open_reader(plain, name, io))
    if spec.labels is not None and not spec.labels.are_codes:
        plain = replace(dataset, arrays={**dataset.arrays, name: spec.unlabelled()})
        return LabelReader(open_reader(plain, name, io), spec.labels)
    if isinstance(spec, TransformedSpec):
        plain = replace(dataset, arrays={**dataset.arrays, name: spec.source})
        return TransformedReader(spec, dataset.path, open_reader(plain, name, io))
    if isinstance(spec, SparseSpec):
        found = [open_reader(alone, part.name, io) for alone, part in parts_of(dataset, spec)]
        return CsrReader(spec, dataset.path, found)
    if isinstance(spec, JoinedSpec):
        datasets = {part.name: alone for alone, part in parts_of(dataset, spec)}
        stripes = [_stripe_reader(datasets[each.part.name], each, io) for each in spec.stripes]
        native = [stored for stored in map(_stored, stripes) if isinstance(stored, NativeReader)]
        for stored in native[1:]:
            stored.share_scratch(native[0])
        return JoinedReader(spec, dataset.path, stripes)
    if name in dataset.held:
        return HeldReader(dataset.held[name], name, dataset.path, spec.chunks)
    path, layout, store = _resolve(dataset, spec, io)
    reader: RowReader
    if layout is None:
        reader = ZarrReader(dataset, name)
    else:
        files: Files = FileReader(path.mode)
        if isinstance(store, RemoteStore):
            most = most_stored_bytes(layout.chunk_bytes)
            files = ObjectReader(dataset, name, store, most, layout.shard is None)
        reader = NativeReader(name, dataset.path, layout, files, dataset.missing)
    if spec.conventions is None or not spec.conventions.changes:
        return reader
    return DecodedReader(reader, spec.conventions)


# Fewer are read chunk by chunk before a kernel is compiled.
MANY_BYTES = 256 * 2**20


def reading_kernels(dataset: Dataset) -> "list[Compilation]":
    """Return what is to be compiled to read whole chunks at once, where there are many to read."""
    here = "://" not in dataset.path
    many = dataset.arrays[dataset.features].row_bytes * dataset.rows >= MANY_BYTES
    return [compilation()] if here and many and loaded_kernel() is None else []


def _stripe_reader(dataset: Dataset, stripe: Stripe, io: str) -> RowReader:
    """Open a part of joined features, of which no more than a stripe is read."""
    reader = open_reader(dataset, stripe.part.name, io)
    if stripe.across is not None:
        _stored(reader).narrow(*stripe.across)
    return reader


def _stored(reader: RowReader) -> RowReader:
    """Return what reads stored numbers."""
    return reader.stored if isinstance(reader, DecodedReader) else reader


# What decoders have for a moment, with what the allocator keeps of it, as measured: copies of a
# chunk, or of the blocks into which they cut a large one.
DECODER_COPIES, DECODER_BYTES = 5, 5 * 2**19


def scratch_bytes(spec: ArraySpec, block_rows: int) -> int:
    """Return the most bytes that one thread needs to read blocks of an array, on either path."""
    if isinstance(spec, StackedSpec):
        casts = [part.row_bytes for part in spec.parts if part.dtype != spec.dtype]
        return max(scratch_bytes(part, block_rows) for part in spec.parts) + block_rows * max(
            casts, default=0
        )
    if isinstance(spec, StackedSparseSpec):
        aside = 16 * int(spec.heaviest(min(block_rows, spec.shape[0]))[0])
        is_cast = any(source.dtype != spec.dtype for source in spec.sources)
        return max(scratch_bytes(each, block_rows) for each in spec.sources) + aside * is_cast
    if isinstance(spec, TransformedSpec):
        return scratch_bytes(spec.source, block_rows) + spec.bytes_aside(block_rows)
    if isinstance(spec, SequenceSpec):
        times = spec.block_times(block_rows)
        aside = times * spec.source.row_bytes if spec.is_last and spec.stride > 1 else 0
        return scratch_bytes(spec.source, times) + aside
    if isinstance(spec, SparseSpec):
        most, parts = int(spec.heaviest(min(block_rows, spec.shape[0]))[0]), spec.parts
        aside = 0 if spec.native else 2 * 8 * most
        needed = max(scratch_bytes(part, max(1, most)) for part in parts[:2])
        return max(needed, scratch_bytes(parts[2], block_rows)) + aside
    if isinstance(spec, JoinedSpec):
        needed = max(scratch_bytes(stripe.spec, block_rows) for stripe in spec.stripes)
        return needed + aside_bytes(spec, block_rows)
    # Two batches in flight, and single requests, whose memory is replaced as it grows.
    requests = 2 * BATCH_BYTES + 2 * most_stored_bytes(spec.chunk_bytes)
    through_zarr = DECODE_COPIES * spec.most_decoded_bytes(block_rows)
    aside = PIECE_BYTES if spec.conventions is not None and spec.conventions.changes else 0
    if spec.labels is not None and not spec.labels.are_codes:
        aside += block_rows * (TEXT_BYTES if spec.labels.is_text else LABEL_BYTES)
    decoder = min(DECODER_COPIES * spec.chunk_bytes, DECODER_BYTES)
    return max(requests + spec.chunk_bytes + decoder, through_zarr) + aside


def parts_of(dataset: Dataset, spec: ArraySpec) -> list[tuple[Dataset, ArraySpec]]:
    """Return each stored array behind an array, with a dataset of it alone: itself, if it is."""
    if isinstance(spec, StackedSpec | StackedSparseSpec):
        return [each for alone, part in dataset.stacks(spec) for each in parts_of(alone, part)]
    if isinstance(spec, TransformedSpec | SequenceSpec):
        plain = replace(dataset, arrays={**dataset.arrays, spec.name: spec.source})
        return parts_of(plain, spec.source)
    if isinstance(spec, SparseSpec):
        parts = spec.parts
    elif isinstance(spec, JoinedSpec):
        parts = tuple(part.spec for part in spec.parts)
    else:
        return [(dataset, spec)]
    alone = replace(dataset, target=None, weight=None, selection=None, unused={}, held={})
    return [(replace(alone, arrays={part.name: part}, features=part.name), part) for part in parts]


def _resolve(
    dataset: Dataset, spec: ArraySpec, io: str
) -> tuple[ReadPath, ChunkLayout | None, Store]:
    """Return how an array is read, its layout on the native path, and its store."""
    array = open_zarr_array(dataset, spec.name)
    total = spec.row_bytes * spec.shape[0]
    try:
        if dataset.store is not None and not isinstance(dataset.store, RemoteStore):
            raise NotNativeError("it is in a store that was opened elsewhere")
        if isinstance(array.store, RemoteStore) and "://" not in dataset.path:
            raise NotNativeError("it is where references say")
        layout = native_layout(array, dataset.path)
    except NotNativeError as reason:
        choose_mode(io, total, Path(dataset.path))
        return ReadPath(False, "zarr-python", str(reason)), None, array.store
    files = [Path(layout.folder, name) for name in METADATA]
    mode = choose_mode(io, total, next((file for file in files if file.exists()), files[0]))
    mode = "requests" if "://" in dataset.path else mode
    return ReadPath(True, mode, _MODES[mode]), layout, array.store
