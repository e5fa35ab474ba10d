"""The small bundled model and the code that grew it."""
