"""The services: each reads the ledger, does one step, writes the ledger. They never call each other."""
