"""What scores depend on, what a network does, which system is better."""
