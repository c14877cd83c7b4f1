"""What gridgate knows: pure, synchronous, without a clock, without input or output."""
