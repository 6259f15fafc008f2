"""A chunk that cannot be read, named so that it can be found and restored."""

from ooc.core.errors import DataError


class BadChunkError(DataError):
    """A chunk that is missing, damaged or not readable.

    Attributes
    ----------
    cell
        The chunk's coordinates, along all axes.
    file
        The file that holds it, or should.
    rows
        First and last row that the chunk holds.
    run
        Number of the run of rows that asked for it.
    """

    def __init__(
        self,
        array: str,
        where: str,
        cell: tuple[int, ...],
        file: str,
        rows: tuple[int, int],
        reason: str,
        run: int = 0,
    ) -> None:
        self.array, self.where, self.cell, self.file = array, where, cell, file
        self.rows, self.reason, self.run = rows, reason, run
        chunk = ".".join(map(str, cell))
        super().__init__(
            f"chunk {chunk} of array {array} in {where}, rows {rows[0]} to {rows[1]}, cannot be "
            f"read from {file}: {reason}"
        )

    def __reduce__(self) -> tuple[object, ...]:
        fields = (self.array, self.where, self.cell, self.file, self.rows, self.reason, self.run)
        return BadChunkError, fields
