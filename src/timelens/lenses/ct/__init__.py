"""CT: what an attenuation scan beside PET or SPECT shows of a body."""
