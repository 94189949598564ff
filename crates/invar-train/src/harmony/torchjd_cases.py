#!/usr/bin/env python3
"""Weights by TorchJD for random Gram matrices, which the tests compare with: writes torchjd_cases.json beside this file.

Needs `pip install torch "torchjd[cagrad]" mpmath`; made with torchjd 0.18.0. TorchJD orders the gradients at random, by
`torch.randperm`, which is replaced here by an order that is stored with the case. GradVac without the small number that it
adds to denominators. CAGrad's solver ends up to 1e-3 from the minimum: from there on, Newton's method finds it to 30 digits.
"""

import json
from pathlib import Path

import mpmath
import torch
from torchjd.aggregation import CAGradWeighting, GradVacWeighting, PCGradWeighting

torch.set_default_dtype(torch.float64)
mpmath.mp.dps = 40
randperm = torch.randperm


def cagrad(gram, c):
    """TorchJD's weights 1 / T + c |g0| / |g_w| w, with w refined on the face of the simplex that it found."""
    num = len(gram)
    found = CAGradWeighting(c=c)(gram).tolist()
    added = [weight - 1 / num for weight in found]
    start = [part / sum(added) for part in added]
    face = [at for at in range(num) if start[at] > 1e-4]
    gram = mpmath.matrix((gram / gram.trace()).tolist())
    along = [sum(gram[i, j] for j in range(num)) / num for i in range(num)]
    radius = c * mpmath.sqrt(sum(along) / num)

    def norm(w):
        return mpmath.sqrt(sum(w[a] * w[b] * gram[i, j] for a, i in enumerate(face) for b, j in enumerate(face)))

    def conditions(*at):
        w, level = at[:-1], at[-1]
        slopes = [along[i] + radius * sum(gram[i, j] * w[b] for b, j in enumerate(face)) / norm(w) for i in face]
        return [slope - level for slope in slopes] + [sum(w) - 1]

    if len(face) == 1:
        w = [mpmath.mpf(1)]
    else:
        start = [start[at] for at in face]
        level = along[face[0]] + radius * sum(gram[face[0], j] * start[b] for b, j in enumerate(face)) / norm(start)
        w = list(mpmath.findroot(conditions, [*start, level]))[:-1]
    weights = [1 / mpmath.mpf(num)] * num
    for at, part in zip(face, w):
        assert part > 0
        weights[at] += radius / norm(w) * part
    far = max(abs(weight - other) for weight, other in zip(weights, found))
    assert far < 1e-3 * max(1, *map(abs, found)), (weights, found)
    return [float(weight) for weight in weights]


def case(generator, num):
    vectors = torch.randn(num, num + 2, generator=generator) * torch.rand(num, 1, generator=generator).mul(4).exp()
    gram = vectors @ vectors.T
    orders = [[j for j in randperm(num, generator=generator).tolist() if j != i] for i in range(num)]
    calls = {"number": 0}

    def ordered(size):
        own = calls["number"] % num
        calls["number"] += 1
        order = orders[own]
        if size == num:  # PCGrad leaves out the gradient itself
            return torch.tensor([own, *order])
        return torch.tensor([other - (other > own) for other in order])

    torch.randperm = ordered
    gradvac = GradVacWeighting(beta=0.5, eps=0.0)
    found = {
        "gram": gram.tolist(),
        "orders": orders,
        "pcgrad": PCGradWeighting()(gram).tolist(),
        "gradvac": [gradvac(gram).tolist() for _ in range(3)],
        "cagrad": cagrad(gram, 0.5),
    }
    torch.randperm = randperm
    return found


generator = torch.Generator().manual_seed(7)
cases = [case(generator, num) for num in (2, 3, 4, 5) for _ in range(15)]
Path(__file__).with_suffix(".json").write_text(json.dumps(cases) + "\n")
