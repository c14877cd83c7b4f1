"""Everything attached: neutral faces for power and jobs, the drivers behind them, and the node agent."""
