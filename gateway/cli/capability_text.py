"""What the site can give, as ``gridgate asset capability`` tells it."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.cli.asset_text import paragraph, table


def in_words(found: Mapping[str, Any]) -> str:
    """The answer of ``/api/capability``: a table, and what binds in each of its rows, said once."""
    if found["at"] is None:
        return str(found["words"])
    lines = [*paragraph(found["words"], indent=0), "", *_rows("HELD FROM NOW ON FOR", found["held"])]
    lines += ["", *_rows("HOUR BY HOUR", found["hours"])]
    reasons: dict[str, list[str]] = {}
    for row in (*found["held"], *found["hours"]):
        reasons.setdefault(row["reason"], []).append(row["span"])
    for reason, spans in reasons.items():
        where = f"{', '.join(spans)}: " if len(reasons) > 1 else ""
        lines += ["", *paragraph(f"{where}{reason}", indent=2)]
    return "\n".join(lines)


def _rows(title: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    head = [title, "EXPECTED", "9 TIMES OF 10", "WITH PAUSES"]
    said = [[row["span"], row["expected"], row["lower"], row["with_pauses"]] for row in rows]
    return table([head, *said], right={1, 2, 3})
