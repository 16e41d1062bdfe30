"""How predictions become a number: always on raw text, always with a signature."""
