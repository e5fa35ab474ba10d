"""The radix tree over token ids and the pages it owns. numpy only: no torch, no HTTP."""
