"""Where a project begins: its root, configuration, folders, notebooks, git."""
