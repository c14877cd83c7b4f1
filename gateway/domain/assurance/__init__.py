"""How far a verified reduction can be trusted: ``assure`` puts it together, each other module answers one question."""
