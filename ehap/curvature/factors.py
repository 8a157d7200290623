"""The Hessian of cross-entropy in the logits, as columns: S with S Sᵀ = diag(p) − p pᵀ for every image."""

import torch
from torch import Tensor


def loss_factors(logits: Tensor, tolerance: float = 0.0) -> Tensor:
    """Return the leading eigenvectors of every image's diag(p) − p pᵀ, times the roots of their eigenvalues.

    Args:
        logits: (N, C).
        tolerance: Share of each image's eigenvalue sum that may be left out. The number of columns is the smallest
            that leaves out no more for any of the images.

    Returns:
        (K, N, C), K ≤ C − 1, in the type of ``logits``; without tolerance S Sᵀ is exact, since the eigenvector of
        equal entries has the eigenvalue 0.
    """
    probabilities = logits.detach().double().softmax(1)
    matrices = torch.diag_embed(probabilities) - probabilities.unsqueeze(2) * probabilities.unsqueeze(1)
    values, vectors = torch.linalg.eigh(matrices)
    values, vectors = values.flip(1).clamp_min(0), vectors.flip(2)
    columns = vectors * values.sqrt().unsqueeze(1)
    most = max(1, logits.shape[1] - 1)
    left = 1 - values.cumsum(1) / values.sum(1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    enough = (left <= tolerance).double().argmax(1) + 1
    count = most if tolerance == 0 else min(most, int(enough.max()))
    chosen: Tensor = columns[:, :, :count].permute(2, 0, 1)
    return chosen.to(logits.dtype)


def sketch_of_rest(logits: Tensor, columns: Tensor, signs: Tensor) -> Tensor:
    """Return S_rest · r for every image: one random column in place of all columns that ``columns`` leave out.

    With r of random ±1, E[S_rest r rᵀ S_restᵀ] = diag(p) − p pᵀ − columns columnsᵀ. The rest is applied as a
    symmetric square root, so that no eigenvector has to be picked.

    Args:
        logits: (N, C).
        columns: (K, N, C), as loss_factors returns them.
        signs: (N, C) of random ±1.

    Returns:
        (N, C) in the type of ``logits``.
    """
    probabilities = logits.detach().double().softmax(1)
    known = torch.einsum("knc,knd->ncd", columns.double(), columns.double())
    rest = torch.diag_embed(probabilities) - probabilities.unsqueeze(2) * probabilities.unsqueeze(1) - known
    values, vectors = torch.linalg.eigh(rest)
    roots = values.clamp_min(0).sqrt() * torch.einsum("ncd,nc->nd", vectors, signs.double())
    return torch.einsum("ncd,nd->nc", vectors, roots).to(logits.dtype)
