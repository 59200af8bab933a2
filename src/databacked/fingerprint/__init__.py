"""What code, values and files count by."""
