"""Which signal of an event dispatch acts on, and which ones it cannot act on."""

from math import isfinite

from gateway.domain.contract import Program
from protocols.grid import GridEvent, Signal, SignalKind

_BY_PREFERENCE = (
    SignalKind.SETPOINT,
    SignalKind.LIMIT,
    SignalKind.CAPACITY,
    SignalKind.ADJUST,
    SignalKind.FRACTION,
    SignalKind.LEVEL,
)


def governing_signal(event: GridEvent, program: Program) -> Signal | None:
    """The one signal that dispatch acts on, so that one event never acts twice; ``None`` where there is none.

    The program may name it. Else it is the most specific kind that is understood: watts, or a share of the site's
    most, before a fraction of the baseline before a level (SIMPLE, which 2.0b has senders add as fallback); the first
    in the event where two are of a kind. A price calls for no power and never governs.
    """
    if program.signal is not None:
        named = [signal for signal in event.signals if signal.name.casefold() == program.signal.casefold()]
        return next((signal for signal in named if not_understood(signal, program) is None), None)
    for kind in _BY_PREFERENCE:
        for signal in event.signals:
            if signal.kind is kind and not_understood(signal, program) is None:
                return signal
    return None


def not_understood(signal: Signal, program: Program) -> str | None:
    """Why dispatch cannot act on a signal, in plain words; ``None`` where it can."""
    values = [interval.value for interval in signal.intervals]
    if signal.kind not in _BY_PREFERENCE:
        return f"{signal.name} ({signal.dialect_kind or signal.kind}) calls for no power"
    if not values:
        return f"{signal.name} has no intervals"
    if not all(isfinite(value) for value in values):
        return f"{signal.name} has a value that is no number"
    return _bad_value(signal, values, program)


def _bad_value(signal: Signal, values: list[float], program: Program) -> str | None:
    fault = None
    match signal.kind:
        case SignalKind.LEVEL:
            unknown = sorted({value for value in values if value != 0 and value not in program.levels})
            if unknown:
                fault = f"program {program.program_id} does not say what level {unknown[0]:g} of {signal.name} means"
        case SignalKind.FRACTION:
            if not all(-1.0 <= value <= 1.0 for value in values):
                fault = f"{signal.name} asks for a fraction outside -1 to 1"
        case SignalKind.CAPACITY:
            if program.capacity_w is None:
                fault = f"nobody said what all of {signal.name} is: neither program {program.program_id} nor the site"
            elif not all(0.0 <= value <= 1.0 for value in values):
                fault = f"{signal.name} allows a share of the site's most outside 0 to 1"
        case SignalKind.LIMIT | SignalKind.SETPOINT:
            if min(values) < 0:
                fault = f"{signal.name} asks for an import of {min(values):g} W"
        case _:
            pass
    return fault


_NOTED = frozenset({SignalKind.PRICE, SignalKind.NOTICE})


def is_noted(signal: Signal) -> bool:
    """Whether a signal asks nothing of the load and is only noted: a price, or another notice."""
    return signal.kind in _NOTED and all(isfinite(interval.value) for interval in signal.intervals)
