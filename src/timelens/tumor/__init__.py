"""Tumours and their hosts whose truth is known: what a lens sees of them can be held against it."""
