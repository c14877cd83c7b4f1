"""The schedule of one curtailment: who slows down or pauses in which interval, by optimisation or by rule."""
