"""Bringing two images of one body into one space."""
