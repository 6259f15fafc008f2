"""Attributes that an engine has from what takes its steps."""

from operator import attrgetter
from typing import Any


def forwarded(path: str) -> Any:
    """Return a property that reads and sets an attribute of another object, as in "_loop.step"."""
    holder, _, name = path.rpartition(".")

    def put(engine: object, value: Any) -> None:
        setattr(attrgetter(holder)(engine), name, value)

    return property(attrgetter(path), put)
