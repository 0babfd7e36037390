"""Pictures to files: a model's answers for a whole folder, at once or in shards that are merged."""
