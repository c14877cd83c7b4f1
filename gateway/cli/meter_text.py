"""Meter data in words, for the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway.cli.time_text import instant_in_words

if TYPE_CHECKING:
    from gateway.cli.meter_work import Imported
    from gateway.domain.meter_import import MeterImport


def imported_text(done: "Imported") -> str:
    """What became of a file."""
    one = done.imported
    head = f"import {one.import_id}" if done.recorded else "nothing is recorded: this was a check"
    lines = [
        head,
        f"{one.source}: {one.count} intervals of meter {one.meter_id}, values in {one.unit}",
        f"{instant_in_words(one.starts_at)} to {instant_in_words(one.ends_at)}, {done.energy_kwh:,.3f} kWh",
    ]
    if done.meter_in_file:
        lines.append(f"the file calls the meter {done.meter_in_file}")
    if done.registers:
        lines.append(f"{done.registers} readings of its register")
    if done.replaces:
        lines.append(
            f"{done.replaces} intervals that were imported before {'are' if done.recorded else 'would be'} replaced"
        )
    if done.ratio is None:
        lines.append("our own meter says nothing of this time, so that the unit could not be checked")
    else:
        lines.append(f"{100 * (done.ratio - 1):+.2f} % against our own meter (median of {done.compared} intervals)")
    return "\n".join(lines + [f"note: {note}" for note in done.notes])


def imports_text(found: Sequence["MeterImport"]) -> str:
    """A line an import."""
    lines = [
        f"{one.import_id}  meter {one.meter_id}  {one.kind.value:<7}  {instant_in_words(one.starts_at)} to "
        f"{instant_in_words(one.ends_at)}  {one.count:>7} intervals  {one.source}  by {one.by} at "
        f"{instant_in_words(one.at)}"
        for one in found
    ]
    return "\n".join(lines) or "nothing was imported yet"
