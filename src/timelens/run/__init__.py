"""Carries out recipes: which sessions, in which order, on how many processes, resumable; and simulates studies."""
