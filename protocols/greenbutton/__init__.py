"""Green Button (NAESB REQ.21, ESPI): metered energy as utilities hand it out, in Atom feeds: ``codec > model``."""
