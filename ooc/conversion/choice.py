"""What a user chooses of a conversion: which columns become what, and what of missing values."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ooc.store.roles import RoleName
from ooc.stream.missing_values import MissingRule, rule_of


@dataclass(frozen=True)
class Choice:
    """Which columns become which arrays; `ooc.convert` says what each of these means.

    Attributes
    ----------
    columns
        Those that become the features, in this order; nothing is then kept beside them.
    target, weight
        A name; None for a column that is called "y", or an array that is called "weight"; False
        for none.
    without
        Those that are not read.
    dtype
        Of the features; by default the smallest that holds all of them.
    missing
        What becomes of rows that lack a value.
    hash_text
        Columns of text that become hashed numbers.
    """

    columns: Sequence[str] | None = None
    target: RoleName = None
    weight: RoleName = None
    without: Sequence[str] = ()
    dtype: str | None = None
    missing: MissingRule = field(default_factory=lambda: rule_of("raise"))
    hash_text: Sequence[str] = ()

    @property
    def decodes(self) -> bool:
        """Whether packed features are written decoded: a number that is put there is no code."""
        return self.missing.name == "fill"
