"""Example documents, schemas and expected values, shipped with the package."""
