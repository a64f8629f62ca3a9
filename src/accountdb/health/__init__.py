"""Status and checks of regions, composed from what the features report."""
