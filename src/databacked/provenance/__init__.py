"""What is known of what lies there: of one file, and of a whole place."""
