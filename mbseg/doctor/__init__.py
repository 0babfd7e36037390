"""Is this machine fit? Facts are gathered first, then judged by small functions that tests can feed."""
