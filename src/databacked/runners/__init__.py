"""What runs the items; one file a kind."""
