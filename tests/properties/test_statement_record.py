"""What is put on record of a statement reads back as it was, also what the release before wrote."""

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.dialects import sqlite

from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.contract import Program
from gateway.domain.evidence import canonical_json, fingerprint
from gateway.domain.measurement import IntervalEnergy, from_epoch_us
from gateway.domain.settlement import Edition, Run, SettlementStatement, check, says_the_same, settle
from gateway.domain.settlement_terms import PricedInterval, SettlementTerms
from gateway.domain.statement_changes import changes
from gateway.domain.tariff.delivery import IntervalPrice
from gateway.domain.tariff.sheet import shipped_tariffs
from gateway.domain.tariff.terms import Part
from gateway.domain.verification import VerificationInputs, verify_event
from gateway.storage.documents import Document
from gateway.storage.sql_ledger import open_ledger
from gateway.storage.statement_rows import _packed, _unpacked
from hardware.device import Quality

START = datetime(2026, 7, 15, 20, tzinfo=UTC)
ZONES = ["America/Phoenix", "Europe/Berlin", "Asia/Kolkata", "UTC"]
RULES = sorted(shipped_rules())
NEW_KEYS = ("tariff", "tariff_version", "terms", "lines", "unpriced", "edition")
"""What the release that knew a single price only did not write."""

DOCUMENT = Document(SettlementStatement)
DIALECT = sqlite.dialect()

# In UTC, as every record of ours is: instants of a repeated hour in another zone equal no other.
any_instant = st.integers(6 * 10**14, 4 * 10**15).map(from_epoch_us)
numbers = st.floats(-1e12, 1e12) | st.floats(allow_nan=False, allow_infinity=False) | st.just(-0.0)
metered = st.builds(
    IntervalEnergy,
    starts_at=any_instant,
    duration_s=st.sampled_from([60.0, 300.0, 900.0, 86_400.0, 0.000001]),
    energy_wh=numbers,
    coverage_fraction=st.floats(0, 1),
    quality=st.sampled_from(Quality),
)
some_metered = st.lists(metered, max_size=4).map(tuple)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@st.composite
def any_inputs(draw: st.DrawFn, rule_id: str) -> VerificationInputs:
    """Of any content, whether or not a rule could make anything of it."""
    return VerificationInputs(
        connection_id=draw(names),
        event_id=draw(names),
        revision=draw(st.integers(0, 2**53 - 1)),
        event_start=draw(any_instant),
        event_end=draw(any_instant),
        ramp_start=draw(st.none() | any_instant),
        rule=shipped_rules()[rule_id],
        timezone=ZoneInfo(draw(st.sampled_from(ZONES))),
        history=draw(some_metered),
        measured=draw(some_metered),
        excluded=tuple(draw(st.lists(st.tuples(any_instant, any_instant), max_size=3))),
        noticed_at=draw(st.none() | any_instant),
    )


@pytest.mark.parametrize("rule_id", RULES)
@settings(max_examples=4)
@given(data=st.data())
def test_inputs_that_are_kept_read_back_the_same_for_every_rule(rule_id: str, data: st.DataObject) -> None:
    given_inputs = data.draw(any_inputs(rule_id))
    sha256 = fingerprint(given_inputs)
    found = _unpacked(_packed(given_inputs), sha256)
    assert found == given_inputs
    assert fingerprint(found) == sha256


def metered_load(power_w: Sequence[float]) -> tuple[tuple[IntervalEnergy, ...], tuple[IntervalEnergy, ...]]:
    """Sixty days of hours and an event of two; each hour of the day and each day of the week has its own power."""
    begins_at = START - timedelta(days=60)
    hours = [begins_at + timedelta(hours=index) for index in range(60 * 24 + 2)]
    found = tuple(
        IntervalEnergy(
            starts_at=at,
            duration_s=3600.0,
            energy_wh=power_w[index % len(power_w)] * (0.7 if index >= 60 * 24 else 1.0),
            coverage_fraction=1.0,
        )
        for index, at in enumerate(hours)
    )
    return found, found[-2:]


def made_from(rule_id: str, power_w: Sequence[float], zone: str = "America/Phoenix") -> VerificationInputs:
    history, measured = metered_load(power_w)
    return VerificationInputs(
        connection_id="utility",
        event_id="e1",
        revision=0,
        event_start=measured[0].starts_at,
        event_end=measured[-1].ends_at,
        ramp_start=None,
        rule=shipped_rules()[rule_id],
        timezone=ZoneInfo(zone),
        history=history,
        measured=measured,
        noticed_at=measured[0].starts_at - timedelta(hours=1),
    )


def program_of(tariff_id: str) -> Program:
    return Program(
        program_id="peak",
        price_per_kwh=Decimal("0.50"),
        currency="USD",
        tariff=tariff_id,
        agreed={Part.CAPACITY: Decimal(2), Part.AVAILABILITY: Decimal("0.031")},
    )


def stated(inputs: VerificationInputs, program: Program, **more: Any) -> SettlementStatement:
    return settle(
        verify_event(inputs, verified_at=inputs.event_end),
        program=program,
        site_id="phx-1",
        statement_id="phx-1-utility-e1-r0",
        issued_at=inputs.event_end,
        raw_sha256="ab" * 32,
        **more,
    )


def read_back(statement: SettlementStatement, without: Sequence[str] = ()) -> SettlementStatement:
    """Through a column of the record; ``without`` are keys that an earlier release did not write."""
    written = DOCUMENT.process_bind_param(statement, DIALECT)
    assert written is not None
    content = json.loads(written)
    kept = canonical_json({name: value for name, value in content.items() if name not in without}).decode()
    found: SettlementStatement = DOCUMENT.process_result_value(kept, DIALECT)
    return found


powers = st.integers(0, 2**32 - 1).map(lambda seed: [Random(seed + hour).uniform(1e3, 1e6) for hour in range(24 * 7)])
editions = st.builds(
    Edition,
    version=st.integers(1, 99),
    run=st.sampled_from(Run),
    supersedes=names,
    shadow=st.booleans(),
    dispute_until=st.none() | any_instant,
)


@settings(max_examples=8)
@given(
    rule_id=st.sampled_from(RULES),
    tariff_id=st.sampled_from(sorted(shipped_tariffs())),
    power_w=powers,
    zone=st.sampled_from(ZONES),
    edition=editions,
    price=st.decimals(-100, 100, places=6),
    award=st.integers(0, 10**6),
)
def test_a_statement_reads_back_the_same_under_every_rule_and_tariff(
    rule_id: str, tariff_id: str, power_w: list[float], zone: str, edition: Edition, price: Decimal, award: int
) -> None:
    inputs, program = made_from(rule_id, power_w, zone), program_of(tariff_id)
    terms = SettlementTerms(
        requested_kw=Decimal(award),
        committed_kw=Decimal(award),
        awarded_kw=Decimal(award),
        prices=tuple(
            PricedInterval(starts_at=one.starts_at, price=IntervalPrice(per_kwh=price, source="mean of é"))
            for one in inputs.measured
        ),
    )
    statement = stated(inputs, program, edition=edition, terms=terms)
    found = read_back(statement)
    assert found == statement
    assert canonical_json(found) == canonical_json(statement)
    kept = _unpacked(_packed(inputs), statement.verified.inputs_sha256)
    assert isinstance(kept, VerificationInputs)
    assert check(found, kept, program) is None


@settings(max_examples=8)
@given(rule_id=st.sampled_from(RULES), power_w=powers, price=st.decimals(-100, 100, places=4))
def test_a_statement_of_the_release_before_reads_and_follows_from_its_inputs(
    rule_id: str, power_w: list[float], price: Decimal
) -> None:
    program = replace(program_of("flat-energy"), price_per_kwh=price)
    inputs = made_from(rule_id, power_w)
    today = stated(inputs, program)
    older = read_back(today, without=NEW_KEYS)
    assert check(older, inputs, program) is None
    assert (older.tariff, older.lines, older.edition) == ("", (), Edition())
    assert read_back(older) == older
    # An upgrade alone moves nothing: no version is issued, and none would have a line.
    assert says_the_same(older, today)
    assert {one.figure for one in changes(older, today, inputs, inputs)} <= {"energy: delivered energy USD"}
    off = check(replace(older, amount=older.amount + Decimal("0.01")), inputs, program)
    assert off is not None
    assert off.figure == "amount"


def test_the_keys_that_are_new_are_all_there_are() -> None:
    known = {field.name for field in fields(SettlementStatement)}
    assert set(NEW_KEYS) < known
    assert known - set(NEW_KEYS) == {
        "statement_id", "site_id", "program_id", "verified", "price_per_kwh", "currency", "delivered_kwh", "amount",
        "issued_at", "capability_test", "raw_sha256", "inputs_sha256", "notes",
    }  # fmt: skip


async def test_the_record_gives_back_what_it_got_and_what_the_release_before_wrote(tmp_path: Path) -> None:
    program = program_of("flat-energy")
    power_w = [50_000.0 + 100.0 * hour + hour / 7 for hour in range(24 * 7)]
    async with open_ledger(f"sqlite+aiosqlite:///{tmp_path}/record.db", migrate=True) as ledger:
        for number, rule_id in enumerate(RULES[::6]):
            inputs = replace(made_from(rule_id, power_w), event_id=f"e{number}")
            statement = replace(stated(inputs, program), statement_id=f"phx-1-utility-e{number}-r0")
            await ledger.record_statement(statement, inputs)
            assert await ledger.statements_of("utility", f"e{number}") == (statement,)
            assert await ledger.statement_inputs(statement.verified.inputs_sha256) == inputs

            older_id = f"{statement.statement_id}-old"
            content = json.loads(canonical_json(replace(statement, statement_id=older_id)))
            written = json.dumps({name: value for name, value in content.items() if name not in NEW_KEYS})
            async with ledger.database.write() as connection:
                add = text("INSERT INTO statement (statement_id, document) VALUES (:statement_id, :document)")
                await connection.execute(add, {"statement_id": older_id, "document": written})
            older = await ledger.statement(older_id)
            assert older is not None
            assert (older.tariff, older.lines, older.edition) == ("", (), Edition())
            assert check(older, inputs, program) is None
            assert await ledger.statements_of("utility", f"e{number}") == (statement, older)
