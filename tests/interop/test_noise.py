"""The noise has the variance that was asked for."""
import statistics
import unittest

import noise


class Noise(unittest.TestCase):
    def test_mean_and_variance(self):
        count, variance = 5000, 1000
        samples = [noise.sample(variance) for _ in range(count)]
        # Six standard deviations of either: a sound sampler fails once in some hundred million runs.
        self.assertLess(abs(statistics.mean(samples)), 6 * (variance / count) ** 0.5)
        self.assertLess(abs(statistics.pvariance(samples) / variance - 1), 6 * (2 / count) ** 0.5)
