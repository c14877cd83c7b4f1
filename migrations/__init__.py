"""Alembic's environment and revisions. ``gateway.storage.upgrade`` runs them; there is no ``alembic.ini``."""
