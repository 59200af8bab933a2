"""What made what: claims, a line each, in journals beside the results."""
