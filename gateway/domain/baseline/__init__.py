"""What a site would have drawn without the event: one engine, and rules as data in ``rules/*.toml``.

To add a rule, add a sheet there; what a sheet may say is written in ``rule.py``.
"""
