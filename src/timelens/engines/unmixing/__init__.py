"""Mixed signals taken apart: non-negative least squares for many samples at once, and spillover between channels.

Nothing is imported here, since the solver compiles its loops.
"""
