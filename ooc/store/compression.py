"""How chunks are compressed: by two names, for data that are written soon or read often."""

from typing import TYPE_CHECKING, Any, NamedTuple

from ooc.core.numbers import entry_of

if TYPE_CHECKING:
    from numcodecs.blosc import Blosc
    from zarr.codecs import BloscCodec

FAST_WRITE, FAST_READ = "fast-write", "fast-read"


class Compression(NamedTuple):
    """Settings of blosc.

    Attributes
    ----------
    compressor
        Its name in blosc: chunks of "lz4hc" are decoded as those of "lz4" are.
    level
        From 1 to 9.
    shuffle
        How bytes of values are put in order before: "shuffle", or "bitshuffle".
    """

    compressor: str
    level: int
    shuffle: str

    def codec(self, itemsize: int) -> "BloscCodec":
        """Return what Zarr's metadata say of values of so many bytes."""
        from zarr.codecs import BloscCodec

        named: Any = {"cname": self.compressor, "shuffle": self.shuffle}
        return BloscCodec(typesize=itemsize, clevel=self.level, **named)

    def encoder(self) -> "Blosc":
        """Return what encodes a chunk."""
        from numcodecs.blosc import Blosc

        shuffle = {"shuffle": Blosc.SHUFFLE, "bitshuffle": Blosc.BITSHUFFLE}[self.shuffle]
        return Blosc(self.compressor, clevel=self.level, shuffle=shuffle)


# `scripts/bench_compression` has the measurements. Bit shuffle doubles what lz4 finds in floats of
# limited precision, and costs as much as lz4 itself when chunks are decoded. What lz4hc finds in
# shuffled bytes is about as much, after a search of five to twenty-five times as long.
COMPRESSIONS = {
    FAST_WRITE: Compression("lz4", 5, "bitshuffle"),
    FAST_READ: Compression("lz4hc", 5, "shuffle"),
}


def compression_of(name: str) -> Compression:
    """Return the compression of a name.

    Raises
    ------
    InputError
        If there is none of this name.

    Examples
    --------
    >>> compression_of("fast-read").compressor
    'lz4hc'
    """
    return entry_of("compression", COMPRESSIONS, name)
