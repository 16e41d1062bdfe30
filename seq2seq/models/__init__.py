"""The networks. Shapes are written with these letters, here and everywhere:

B batch, S source length, T target length, E embedding size, H hidden size, L layers, V vocabulary, K beam size.
Tensors are batch first, except a cell's state: a tuple of (L, B, H) tensors, as in torch.
"""
