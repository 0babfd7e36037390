"""The live page of `mbseg demo --serve`: what is found in the source's frames, or in those of a visitor's camera."""
