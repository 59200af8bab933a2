"""What happens to one item, wherever it runs."""
