"""What a person sees of a run: bars on a terminal, a box in a notebook, lines elsewhere."""
