"""From what was counted of a column to its transform, a module a family, each choice with its reason.

A new family is one module here and one line of `families.FITTERS`.
"""
