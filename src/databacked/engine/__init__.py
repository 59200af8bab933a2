"""What must be made, and its way there."""
