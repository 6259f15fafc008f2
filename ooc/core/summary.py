"""What an object is, in one line for a prompt, and as a small table for a notebook."""

import html
import re
from collections.abc import Mapping

from ooc.core.terminal import one_line


class Summary:
    """Gives a class its `repr`, and its table in notebooks, from the facts that it tells.

    Examples
    --------
    >>> class Shelf(Summary):
    ...     def facts(self):
    ...         return {"books": "12", "of wood": "yes"}
    >>> Shelf()
    Shelf(books 12, of wood yes)
    >>> Shelf()._repr_html_()[:62]
    '<b>Shelf</b><table><tr><th>books</th><td>12</td></tr><tr><th>o'
    """

    def facts(self) -> Mapping[str, str]:
        """Return what is told of the object, in its order."""
        raise NotImplementedError

    def __repr__(self) -> str:
        facts = ", ".join(f"{name} {value}" for name, value in self._shown().items())
        return f"{type(self).__name__}({facts})"

    def _repr_html_(self) -> str:
        rows = (
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
            for name, value in self._shown().items()
        )
        return f"<b>{type(self).__name__}</b><table>{''.join(rows)}</table>"

    def _shown(self) -> dict[str, str]:
        """Return the facts as a terminal can show them, without keys that a URL holds."""
        return {
            one_line(name): re.sub(r"//[^/@]*@", "//", one_line(value))
            for name, value in self.facts().items()
        }
