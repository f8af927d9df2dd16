"""Executes recipes: planning, caching, resuming."""
