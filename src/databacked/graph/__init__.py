"""What the calls of a flow become: nodes with columns. No disk, no run."""
