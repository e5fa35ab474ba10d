"""The HTTP API: Starlette app, wire dialects, metrics; knows only the engine's interface."""
