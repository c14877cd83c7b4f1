"""Validation, estimation and editing of meter data: what is wrong, what could stand in its place, what was put there.

Raw intervals are never changed. ``validate`` names what cannot be right, ``estimate`` proposes edits, and ``resolve``
lays edits over raw intervals. Thresholds are data, in ``sheets/*.toml``.
"""
