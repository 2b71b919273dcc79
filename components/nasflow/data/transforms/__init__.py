"""How columns become tensors, a family a module: the fitted spec of a column and its arithmetic in NumPy.

A new family is one module here (a `ColumnTransform`), one module in `nasflow.models.served` (the same arithmetic as a
graph), and one line in each of `nasflow.data.transform.TransformSpec` and `nasflow.models.served.families.SERVED`.
"""
