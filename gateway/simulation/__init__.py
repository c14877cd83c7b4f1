"""``gridgate simulate``: the whole gateway on a simulated site in virtual time, held against the same site at rest."""
