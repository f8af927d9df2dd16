"""From measurements to meaning: what rows of many subjects say together."""
