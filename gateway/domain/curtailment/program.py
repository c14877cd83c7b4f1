"""A mixed-integer linear program as arrays: blocks of columns and rows are added whole, never one by one."""

from dataclasses import dataclass

import numpy as np

from gateway.domain.tree import Flags, Floats, Indices


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearProgram:
    """Maximise ``gain @ x`` with ``row_low <= A x <= row_high`` and ``low <= x <= high``.

    ``A`` is stored by column: column ``j`` has ``values`` from ``starts[j]`` to ``starts[j + 1]`` in the rows
    ``row_of`` names. ``whole`` marks the columns that take whole numbers only.
    """

    gain: Floats
    low: Floats
    high: Floats
    whole: Flags
    row_low: Floats
    row_high: Floats
    starts: Indices
    row_of: Indices
    values: Floats


class ProgramBuilder:
    """Collects a program in blocks. Indices of columns and rows are handed out as arrays, in the shape asked for."""

    def __init__(self) -> None:
        self._columns: list[tuple[Floats, Floats, Floats, Flags]] = []
        self._rows: list[tuple[Floats, Floats]] = []
        self._entries: list[tuple[Indices, Indices, Floats]] = []
        self.columns_count = self.rows_count = 0

    def columns(
        self, shape: tuple[int, ...], *, gain: Floats | float, high: Floats | float = np.inf, whole: bool = False
    ) -> Indices:
        """New columns from 0 to ``high``; ``gain`` and ``high`` are spread over the shape."""
        count = int(np.prod(shape))
        gains = np.broadcast_to(np.asarray(gain, dtype=np.float64), shape).ravel()
        highs = np.broadcast_to(np.asarray(high, dtype=np.float64), shape).ravel()
        self._columns.append((np.zeros(count), highs, gains, np.full(count, whole)))
        first, self.columns_count = self.columns_count, self.columns_count + count
        return np.arange(first, first + count).reshape(shape)

    def rows(self, shape: tuple[int, ...], *, low: Floats | float = -np.inf, high: Floats | float = np.inf) -> Indices:
        """New rows without entries."""
        count = int(np.prod(shape))
        lows = np.broadcast_to(np.asarray(low, dtype=np.float64), shape).ravel()
        highs = np.broadcast_to(np.asarray(high, dtype=np.float64), shape).ravel()
        self._rows.append((lows, highs))
        first, self.rows_count = self.rows_count, self.rows_count + count
        return np.arange(first, first + count).reshape(shape)

    def entries(self, rows: Indices, columns: Indices, values: Floats | float) -> None:
        """Coefficients, spread over each other's shapes; zeros are left out."""
        shape = np.broadcast_shapes(rows.shape, columns.shape, np.shape(values))
        flat = np.broadcast_to(np.asarray(values, dtype=np.float64), shape).ravel()
        kept = flat != 0.0
        self._entries.append(
            (np.broadcast_to(rows, shape).ravel()[kept], np.broadcast_to(columns, shape).ravel()[kept], flat[kept])
        )

    def build(self) -> LinearProgram:
        """The whole program. No coefficient may be given twice."""
        lows, highs, gains, whole = (np.concatenate(parts) for parts in zip(*self._columns, strict=True))
        row_low, row_high = (np.concatenate(parts) for parts in zip(*self._rows, strict=True))
        rows, columns, values = (np.concatenate(parts) for parts in zip(*self._entries, strict=True))
        order = np.lexsort((rows, columns))
        counts = np.bincount(columns, minlength=self.columns_count)
        return LinearProgram(
            gain=gains,
            low=lows,
            high=highs,
            whole=whole.astype(np.bool_),
            row_low=row_low,
            row_high=row_high,
            starts=np.concatenate([[0], np.cumsum(counts)]),
            row_of=rows[order],
            values=values[order],
        )
