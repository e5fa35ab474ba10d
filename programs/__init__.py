"""The Python DSL for multi-call programs; knows only the client interface."""
