"""The ledger and the party store on SQLAlchemy."""
