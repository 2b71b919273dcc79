"""The families of `nasflow.data.transforms` as TensorFlow graphs, a module each; `families.SERVED` lists them."""
