"""Everything spoken with grid operators and markets: neutral faces, and one package a dialect behind them."""
