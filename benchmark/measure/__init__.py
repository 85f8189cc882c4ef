"""What the host measures of an artifact, each from the reloaded files or from the outputs they gave."""
