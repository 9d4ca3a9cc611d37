//! Clipping, the integer grid and (next) noise for federated updates. No I/O, no clock, no global randomness.
