"""Noise that devices add together: the exact discrete Gaussian, and what it costs (docs/protocol/update.md).

Integers only, from Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential Privacy" (NeurIPS 2020)."""
import math
import secrets

from reference import secagg_ref as reference


def coin(numerator, denominator):
    return secrets.randbelow(denominator) < numerator


def exp_minus(numerator, denominator):
    """True with probability exp(-numerator / denominator): Algorithm 1."""
    while numerator > denominator:
        if not exp_minus(1, 1):
            return False
        numerator -= denominator
    k = 1
    while coin(numerator, denominator * k):
        k += 1
    return k % 2 == 1


def laplace(scale):
    """Probability proportional to exp(-|x| / scale): Algorithm 2."""
    while True:
        rest = secrets.randbelow(scale)
        if not exp_minus(rest, scale):
            continue
        whole = 0
        while exp_minus(1, 1):
            whole += 1
        size, negative = rest + scale * whole, coin(1, 2)
        if size or not negative:
            return -size if negative else size


def sample(variance):
    """Probability proportional to exp(-x^2 / 2 variance): Algorithm 3."""
    scale = math.isqrt(variance) + 1
    while True:
        candidate = laplace(scale)
        distance = abs(candidate) * scale - variance
        if exp_minus(distance * distance, 2 * variance * scale * scale):
            return candidate


def add(vectors, config):
    """Noise on every entry of both vectors, once their norm is what was paid for."""
    squares = sum(entry * entry for vector in vectors for entry in vector)
    assert squares <= reference.norm_bound_squared(config.grid, config.dim), "longer than what was paid for"
    return [[entry + sample(config.local_variance) for entry in vector] for vector in vectors]


def cost(config):
    """rho of one round against somebody who sees the sum alone."""
    n, variance, dim = config.n_honest, config.local_variance, config.dim
    tau = 10 * sum(math.exp(-2 * math.pi**2 * variance * k / (k + 1)) for k in range(1, n))
    signal = reference.norm_bound_squared(config.grid, dim) / (n * variance)
    return min(signal + tau * dim / 2, (math.sqrt(signal) + tau * math.sqrt(dim)) ** 2) / 2
