"""How a batch becomes a loss or a prediction."""
