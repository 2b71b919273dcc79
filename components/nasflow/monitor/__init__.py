"""Served requests against the training data: has the world moved away from the model?"""
