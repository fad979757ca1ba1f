"""What could not be used: looking at it, putting it on its way again, dropping it."""
