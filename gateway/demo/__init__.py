"""The demonstration: a utility, this gateway and a simulated site in one process."""
