"""The model registry: numbered versions of named models, and aliases that point at them."""
