"""Values as the file that the target's ending names."""
