"""Where a group is: a folder, an archive, a URL, or inside a store that somebody has opened."""

from dataclasses import dataclass, field

from zarr.abc.store import Store

from ooc.store.addresses import StorageOptions

# The scheme of what a store in hand is called.
IN_HAND = "object"


@dataclass(frozen=True)
class Place:
    """Where a group is.

    Attributes
    ----------
    path
        A local path or a URL; of a store in hand what it is called, which looks like a URL.
    storage_options
        What opens a URL again; it may hold keys, so that it is never shown.
    store, inside
        A store in hand, where the path names none, and the group's path in it.
    """

    path: str
    storage_options: StorageOptions | None = field(default=None, repr=False)
    store: Store | None = field(default=None, repr=False, compare=False)
    inside: str = ""

    @property
    def is_remote(self) -> bool:
        """Whether files cannot be looked at."""
        return "://" in self.path
