"""Value ↔ file."""
