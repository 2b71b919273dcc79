"""Keras layers of the operations, a module a kind; the counterpart of `nasflow.spaces.operations`."""
