"""The section on money: the lines of the tariff, each the product of its own figures, and their sum."""

from decimal import Decimal

from gateway.domain.report.document import Column, Kind, Table, number_text
from gateway.domain.report.material import Part, StatementMaterial

LINES_ON_PAGES = 40


def money(material: StatementMaterial) -> Part:
    """The amount, to the cent."""
    statement = material.statement
    if statement.unpriced:
        return Part(lead=f"Nothing is priced under {statement.tariff}: {statement.unpriced}. The zero is no amount.")
    if not statement.lines:
        return _one_price(material)
    amount = f"{number_text(statement.amount, 2)} {statement.currency}"
    count = "One line makes" if len(statement.lines) == 1 else f"{len(statement.lines)} lines add up to"
    columns = (
        Column(title="Line"),
        Column(title="What"),
        Column(title="Quantity", kind=Kind.NUMBER, decimals=None),
        Column(title="Unit"),
        Column(title="Price", kind=Kind.NUMBER, decimals=None),
        Column(title="Factor", kind=Kind.NUMBER, decimals=None),
        Column(title="Amount", kind=Kind.NUMBER, unit=statement.currency, decimals=None),
    )
    lines = statement.lines
    rows = tuple((one.line_id, one.what, one.quantity, one.unit, one.price, one.factor, one.amount) for one in lines)
    clauses = tuple(dict.fromkeys((one.part.value, one.clause) for one in lines))
    return Part(
        lead=f"{count} {amount}, under tariff {statement.tariff}, version {statement.tariff_version}.",
        tables=(
            Table(
                name="money",
                caption="Lines: quantity x price x factor is the amount",
                columns=columns,
                rows=rows,
                most_on_pages=LINES_ON_PAGES,
            ),
            Table(
                name="working",
                caption="How each line is worked out",
                columns=(Column(title="Line"), Column(title="Working")),
                rows=tuple((one.line_id, one.working) for one in lines),
                most_on_pages=LINES_ON_PAGES,
            ),
            Table(
                name="clauses",
                caption="What the parts of the tariff rest on",
                columns=(Column(title="Part"), Column(title="Clause")),
                rows=clauses,
            ),
        ),
    )


def _one_price(material: StatementMaterial) -> Part:
    """A statement of a release that knew a single price only, or one of nothing."""
    statement = material.statement
    exact = statement.delivered_kwh * statement.price_per_kwh
    rows: tuple[tuple[str, Decimal, str], ...] = (
        ("Reduction, rounded to the watt-hour", statement.delivered_kwh, "kWh"),
        ("Price", statement.price_per_kwh, f"{statement.currency}/kWh"),
        ("Product", exact, statement.currency),
        ("Amount, rounded half to even", statement.amount, statement.currency),
    )
    columns = (Column(title="Figure"), Column(title="Value", kind=Kind.NUMBER, decimals=None), Column(title="Unit"))
    return Part(
        lead=f"{number_text(statement.delivered_kwh, 3)} kWh at {number_text(statement.price_per_kwh, None)} "
        f"{statement.currency}/kWh is {number_text(statement.amount, 2)} {statement.currency}.",
        tables=(Table(name="money", caption="From energy to money", columns=columns, rows=rows),),
    )
