"""Mathematics that several lenses share: plain arrays in, plain arrays out, no files, no studies, no agents."""
