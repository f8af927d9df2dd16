"""Cells in tissue, on plain arrays: found, measured, joined to neighbours, and their arrangement tested.

Each topic is a module; nothing is imported here, since most of them compile loops.
"""
