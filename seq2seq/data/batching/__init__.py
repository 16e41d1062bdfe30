"""Which rows go together, and the tensors made of them."""
