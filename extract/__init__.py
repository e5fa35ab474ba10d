"""The batch extraction pipeline; knows only the client interface."""
