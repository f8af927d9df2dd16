"""Simulated cohorts: from a specification to scans in native formats, with the truth beside them."""
