"""Meter data in words, for the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway.cli.time_text import duration_in_words, instant_in_words

if TYPE_CHECKING:
    from gateway.cli.meter_edits import CheckResult, Edited, EstimateResult, ListedEdit
    from gateway.cli.meter_work import Imported
    from gateway.domain.meter_import import MeterImport
    from gateway.domain.vee.edit import Edit


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
        lines.append(
            "our own meter says nothing of this time, so that the unit could not be checked: are meter and time zone "
            "right?"
        )
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


def checked_text(found: "CheckResult") -> str:
    """What was found, and what could not be looked for."""
    whose = "imported" if found.of_imports else "our own"
    count = f"{found.intervals} intervals of {duration_in_words(found.interval_s)} ({whose})"
    span = f"{instant_in_words(found.starts_at)} to {instant_in_words(found.ends_at)}"
    lines = [f"{count} of meter {found.meter_id}, {span}, by {found.rules}"]
    lines += [
        f"{one.severity.value:<7}  {instant_in_words(one.starts_at)} to {instant_in_words(one.ends_at)}  "
        f"{one.kind.value}: {one.text}"
        for one in found.findings
    ]
    if not found.findings:
        lines.append("nothing was found")
    lines.append(", ".join(found.share.lines()))
    return "\n".join(lines + [f"not checked: {text}" for text in found.unchecked])


def estimated_text(found: "EstimateResult") -> str:
    """Proposed or recorded edits, and what there is no estimate for."""
    lines = [_edit_line(one) for one in found.edits]
    lines += [
        f"no estimate for {instant_in_words(one.starts_at)} to {instant_in_words(one.ends_at)}: {one.reason}"
        for one in found.refused
    ]
    if found.edits:
        lines.append(
            f"{len(found.edits)} edits are on record"
            if found.recorded
            else "nothing is recorded: add --record for that"
        )
    return "\n".join(lines) or "nothing is missing or suspect"


def edited_text(done: "Edited") -> str:
    """An edit that was recorded, and what counted before it."""
    before = "nothing that is known" if done.before_wh is None else f"{done.before_wh / 1000:,.3f} kWh"
    return f"recorded: {_edit_line(done.edit)}\nin place of {before}"


def edits_text(found: Sequence["ListedEdit"]) -> str:
    """A line an edit."""
    lines = [
        f"{'counts' if one.counts else '-':<6}  {_edit_line(one.edit)}, at {instant_in_words(one.edit.at)}"
        for one in found
    ]
    return "\n".join(lines) or "nothing was edited yet"


def _edit_line(one: "Edit") -> str:
    energy = {"removed": "unusable", "raw": "as the meter said"}.get(one.method.value)
    if energy is None and one.energy_wh is not None:
        energy = f"{one.energy_wh / 1000:,.3f} kWh, {one.quality.value}"
    return (
        f"{instant_in_words(one.starts_at)} for {duration_in_words(one.duration_s)}: {energy} ({one.method.value}) by "
        f"{one.by}: {one.reason}"
    )
