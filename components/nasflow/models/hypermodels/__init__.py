"""Keras Tuner's HyperModels, run unchanged through nasflow's engine."""
