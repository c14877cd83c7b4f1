"""What a report on a statement is made from, as the record gives it. Whatever is not there is ``None`` or empty."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from zoneinfo import ZoneInfo

from gateway.domain.assurance.assure import Assurance, NotAssured
from gateway.domain.event import EventRecord
from gateway.domain.evidence_log import EvidenceEntry
from gateway.domain.measurement import IntervalEnergy
from gateway.domain.meter_import import MeterImport
from gateway.domain.operator import OperatorCommand
from gateway.domain.plan import PowerPlan
from gateway.domain.report.document import Table
from gateway.domain.settlement import SettlementStatement
from gateway.domain.site_verification import SiteVerificationInputs
from gateway.domain.statement_versions import VersionLine
from gateway.domain.tree_head import SignedHead
from gateway.domain.vee.edit import Edit
from gateway.domain.verification import VerificationInputs


class Topic(Enum):
    """The sections, in their order. Values are their titles."""

    RESULT = "Result"
    RULE = "Rule and its parameters"
    TIMELINE = "Timeline, from the signal to the meter"
    CHART = "Baseline, meter and price"
    INTERVALS = "Intervals"
    DAYS = "Days behind the baseline"
    ADJUSTMENT = "Adjustment"
    QUALITY = "Data quality"
    ACCURACY = "Accuracy of the baseline"
    SENSITIVITY = "The same event under other rules"
    GAMING = "Tests for gaming"
    REBOUND = "Rebound and net effect"
    MONEY = "Money"
    VERSIONS = "Versions and differences"
    PROOFS = "Proofs, and how to compute it again"
    EXCEPTIONS = "Exceptions and overrides"
    GLOSSARY = "Glossary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one section says: a lead in plain words, tables and notes."""

    lead: str
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLine:
    """One line of the event's history: what happened, in plain words."""

    at: datetime
    what: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlAction:
    """One cap or restore and what became of it, in watts; ``None`` is no cap."""

    at: datetime
    device_id: str
    requested_w: float | None
    applied_w: float | None
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogProof:
    """Where a statement stands in the log of evidence.

    ``head`` is the first signed head that covers it and ``path`` the proof of inclusion under that head, from the leaf
    up; none while no head covers it. ``stamped`` says that an authority has stamped the head.
    """

    entry: EvidenceEntry
    head: SignedHead | None = None
    path: tuple[bytes, ...] = ()
    stamped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementMaterial:
    """A statement and what is known around it.

    ``versions`` are all statements of the event, oldest first. ``imports`` and ``edits`` are those of the meter that
    touch the event. ``proof`` is where the statement stands in the log of evidence. ``around`` is the meter's energy
    before and after the event, for the chart. ``assurance`` is how far the figures can be trusted. ``added`` are
    sections that were worked out elsewhere: each stands in place of the one that would be written here.
    """

    statement: SettlementStatement
    timezone: ZoneInfo
    inputs: VerificationInputs | SiteVerificationInputs | None = None
    event: EventRecord | None = None
    plan: PowerPlan | None = None
    history: tuple[HistoryLine, ...] = ()
    actions: tuple[ControlAction, ...] = ()
    command: OperatorCommand | None = None
    versions: tuple[VersionLine, ...] = ()
    imports: tuple[MeterImport, ...] = ()
    edits: tuple[Edit, ...] = ()
    proof: LogProof | None = None
    around: tuple[IntervalEnergy, ...] = ()
    assurance: Assurance | NotAssured | None = None
    added: Mapping[Topic, Part] = field(default_factory=dict)
