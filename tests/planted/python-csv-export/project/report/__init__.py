"""Reports of the meters."""
