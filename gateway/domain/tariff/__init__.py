"""What a delivery is worth: one engine, and tariffs as data in ``sheets/*.toml``.

To add a tariff, add a sheet there; what a sheet may say is written in ``sheet.py``.
"""
