"""What carries batches of items to workers, and their answers back."""
