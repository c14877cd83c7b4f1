"""Which characters the font of the pages has. PDF/UA-1 (ISO 14289-1) allows none without a glyph.

What Libertinus Serif lacks (Chinese, Arabic, emoji) stands as its code point, so that no two texts look alike; fonts of
the machine would make the pages differ from one machine to the next. Sheets and JSON hold every text as it is.
"""

from gateway.domain.report.document import one_line

_COVERED = (
    (0x20, 0x7E),
    (0xA1, 0xAC),
    (0xAE, 0x2FF),
    (0x384, 0x482),
    (0x48A, 0x4FF),
    (0x2010, 0x2015),
    (0x2018, 0x2027),
    (0x2030, 0x203E),
    (0x20A0, 0x20BF),
    (0x2190, 0x22FF),
)
"""First and last of each range, tried one by one with the font that typst 0.15 carries."""


def printed(text: str) -> str:
    """The text in one line: ``kW`` stays, a Chinese character becomes ``[U+4E2D]``."""
    line = one_line(text)
    if line.isascii():
        return line
    return "".join(letter if _has(ord(letter)) else f"[U+{ord(letter):04X}]" for letter in line)


def _has(point: int) -> bool:
    return any(first <= point <= last for first, last in _COVERED)
