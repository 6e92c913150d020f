"""The ledger of a layer: every row read is used, merged or dropped, and the reason is kept."""

from dataclasses import dataclass, field

import pandas as pd

from rtmkc.errors import InputError


@dataclass(frozen=True)
class Ledger:
    """What became of the rows of a source: read = used + merged + dropped, by reason.

    Parameters
    ----------
    name : str
        Name of the layer.
    read : int
        Rows read from the source.
    used : int
        Rows (features) that the layer holds.
    merged : dict of str to int
        Rows that tell of a feature already counted, by reason.
    dropped : dict of str to int
        Rows left out, by reason.

    Raises
    ------
    InputError
        If a number is negative or the rows do not add up.

    Notes
    -----
    Immutable: `drop` and `merge` return a new ledger. Reasons that took no row are not kept.

    Examples
    --------
    >>> ledger = Ledger.of("lights", 10).merge("same place", 2).drop("no coordinates", 1)
    >>> print(ledger)
    lights: 10 rows read
      7 used
      2 merged: same place
      1 dropped: no coordinates
    """

    name: str
    read: int
    used: int
    merged: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for side in ("merged", "dropped"):
            kept = {str(reason): int(rows) for reason, rows in getattr(self, side).items() if rows}
            object.__setattr__(self, side, kept)
        parts = [self.read, self.used, *self.merged.values(), *self.dropped.values()]
        if min(parts) < 0 or self.read != sum(parts[1:]):
            raise InputError(
                f"Invalid ledger of {self.name!r}. read = used + merged + dropped must hold and nothing be "
                f"negative; {self.read} were read, {self.used} used, {sum(self.merged.values())} merged, "
                f"{sum(self.dropped.values())} dropped."
            )

    @classmethod
    def of(cls, name: str, read: int) -> "Ledger":
        """Return the ledger of a source just read: every row is used."""
        return cls(name, read, read)

    def drop(self, reason: str, rows: int) -> "Ledger":
        """Return the ledger after `rows` of the rows in use were left out for `reason`."""
        dropped = {**self.dropped, reason: self.dropped.get(reason, 0) + rows}
        return Ledger(self.name, self.read, self.used - rows, self.merged, dropped)

    def merge(self, reason: str, rows: int) -> "Ledger":
        """Return the ledger after `rows` of the rows in use were found to repeat others for `reason`."""
        merged = {**self.merged, reason: self.merged.get(reason, 0) + rows}
        return Ledger(self.name, self.read, self.used - rows, merged, self.dropped)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a reason: layer, what became of the rows, reason, rows."""
        lines = [("read", "", self.read), ("used", "", self.used)]
        lines += [("merged", reason, rows) for reason, rows in self.merged.items()]
        lines += [("dropped", reason, rows) for reason, rows in self.dropped.items()]
        frame = pd.DataFrame(lines, columns=["fate", "reason", "rows"])
        frame.insert(0, "layer", self.name)
        return frame

    def sentence(self) -> str:
        """Return the ledger in one line, for messages.

        Examples
        --------
        >>> Ledger.of("lights", 10).drop("no coordinates", 10).sentence()
        '10 rows read, 0 used, 10 dropped: no coordinates'
        """
        return ", ".join(line.strip() for line in str(self).split(": ", 1)[1].splitlines())

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.read:,} rows read", f"  {self.used:,} used"]
        lines += [f"  {rows:,} merged: {reason}" for reason, rows in self.merged.items()]
        lines += [f"  {rows:,} dropped: {reason}" for reason, rows in self.dropped.items()]
        return "\n".join(lines)
