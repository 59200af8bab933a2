"""Values in, pictures out: SVG, PNG and HTML."""
