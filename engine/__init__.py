"""Model, KV memory, scheduling and sampling."""
