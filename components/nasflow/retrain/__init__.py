"""New data for a model in production: what has changed, and is it time for another model?"""
