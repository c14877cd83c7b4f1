"""OpenADR 2.0b over simple HTTP in pull mode: ``ven | vtn > neutral > codec > model``."""
