"""A trained task as one file: what the network computes and the search around it."""
