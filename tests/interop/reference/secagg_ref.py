"""Reference implementation of the secure aggregation protocol, written from the text of docs/protocol/ alone.

It is made to be read and to be compared with, not to be fast, and it is NOT constant time: never use it on real data.
X25519, Ed25519 and ChaCha20-Poly1305 come from the PyPI package `cryptography`; all the rest is here.
"""
import bisect
import hashlib
import hmac
import itertools
import math
import struct
from dataclasses import dataclass, field, replace

import numpy as np
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

PROTOCOL, SUITE = 1, 1
FLOOR = 10                                   # compiled in: no set of clients is ever smaller
PROFILE_S, PROFILE_M = 0, 1
COMPLETE_UP_TO, PROFILE_M_UP_TO, N_MAX = 128, 256, 100_000
CLASSES = [(10, 10), (33, 10)]               # parameter class -> (gamma, delta) in per cent
SIGMA, ETA = 40, 40
L = 2**252 + 27742317777372353535851937790883648493       # order of the Curve25519 base point
P25519 = 2**255 - 19
BEACON = bytes(32)


class Refused(Exception):
    """A message or a value was refused. `reason` is one of the words of docs/protocol/, `check` one of C01..C26."""

    def __init__(self, reason, check=None, blame=None):
        super().__init__(reason if blame is None else f"{reason} (blame {blame})")
        self.reason, self.check, self.blame = reason, check, blame


def need(condition, reason, check=None, blame=None):
    if not condition:
        raise Refused(reason, check, blame)


# ---------------------------------------------------------------------------------------------------- bytes and hashes
def H(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def u16(x): return struct.pack("<H", x)
def u32(x): return struct.pack("<I", x)
def u64(x): return struct.pack("<Q", x)


def hkdf_extract(salt, ikm):
    return hmac.new(salt, ikm, hashlib.sha256).digest()


def hkdf_expand(prk, info, length):
    out, block, i = b"", b"", 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([i]), hashlib.sha256).digest()
        out, i = out + block, i + 1
    return out[:length]


def hkdf(salt, ikm, info, length=32):
    return hkdf_expand(hkdf_extract(salt, ikm), info, length)


# ---------------------------------------------------------------------------------------------------- ChaCha20, CC20-L16
def _rotl(x, r):
    return ((x << r) | (x >> (32 - r))) & 0xFFFFFFFF


QUARTERS = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
            (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
SIGMA_WORDS = struct.unpack("<4I", b"expand 32-byte k")


def chacha20_block(key, counter, nonce):
    """One 64-byte block, RFC 8439 section 2.3, word by word."""
    start = list(SIGMA_WORDS) + list(struct.unpack("<8I", key)) + [counter] + list(struct.unpack("<3I", nonce))
    s = start[:]
    for _ in range(10):
        for a, b, c, d in QUARTERS:
            s[a] = (s[a] + s[b]) & 0xFFFFFFFF; s[d] = _rotl(s[d] ^ s[a], 16)
            s[c] = (s[c] + s[d]) & 0xFFFFFFFF; s[b] = _rotl(s[b] ^ s[c], 12)
            s[a] = (s[a] + s[b]) & 0xFFFFFFFF; s[d] = _rotl(s[d] ^ s[a], 8)
            s[c] = (s[c] + s[d]) & 0xFFFFFFFF; s[b] = _rotl(s[b] ^ s[c], 7)
    return struct.pack("<16I", *((x + y) & 0xFFFFFFFF for x, y in zip(s, start)))


def chacha20_blocks(keys, counters, nonce):
    """The same for many keys and many counters at once: u32 array [key, counter, word]."""
    kw = np.array([np.frombuffer(k, "<u4") for k in keys], np.uint32)                      # [K, 8]
    cw = np.asarray(counters, np.uint32)                                                   # [B]
    shape = (len(keys), len(cw))
    start = [np.full(shape, w, np.uint32) for w in SIGMA_WORDS]
    start += [np.broadcast_to(kw[:, i:i + 1], shape) for i in range(8)]
    start += [np.broadcast_to(cw[None, :], shape)]
    start += [np.full(shape, w, np.uint32) for w in struct.unpack("<3I", nonce)]
    s = [x.copy() for x in start]
    for _ in range(10):
        for a, b, c, d in QUARTERS:
            for p, q, r, rot in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                s[p] += s[q]
                x = s[r] ^ s[p]
                s[r] = (x << np.uint32(rot)) | (x >> np.uint32(32 - rot))
    return np.stack([x + y for x, y in zip(s, start)], axis=-1)


def cc20_l16(keys, vector, first, count):
    """Entries first .. first+count-1 of mask vector number `vector`, one row per key (docs/protocol/session.md, masks)."""
    need(0 <= first and first + count <= 2**36, "prg_range")                # 2^32 blocks of 16 entries
    if count == 0:
        return np.zeros((len(keys), 0), np.uint32)
    g0, g1 = first // 256, (first + count - 1) // 256
    blocks = chacha20_blocks(keys, np.arange(16 * g0, 16 * (g1 + 1), dtype=np.uint64).astype(np.uint32),
                             u32(vector) + bytes(8))
    # [key, group, lane l, word w] -> position 16 w + l of the group
    flat = blocks.reshape(len(keys), g1 - g0 + 1, 16, 16).transpose(0, 1, 3, 2).reshape(len(keys), -1)
    return flat[:, first - 256 * g0: first - 256 * g0 + count]


class Rng:
    """ChaCha20 keystream of a 32-byte seed, nonce 0, counter from 0, consumed byte by byte without gaps."""

    def __init__(self, seed):
        self.seed, self.counter, self.buffer, self.used = seed, 0, b"", 0

    def bytes(self, n):
        while len(self.buffer) < n:
            more = chacha20_blocks([self.seed], range(self.counter, self.counter + 64), bytes(12))
            self.buffer, self.counter = self.buffer + more.astype("<u4").tobytes(), self.counter + 64
        out, self.buffer = self.buffer[:n], self.buffer[n:]
        self.used += n
        return out

    def u32(self): return struct.unpack("<I", self.bytes(4))[0]
    def u64(self): return struct.unpack("<Q", self.bytes(8))[0]

    def below(self, bound):
        """Uniform in 0..bound-1: reject words at or above the largest multiple of bound."""
        limit = (1 << 32) // bound * bound
        while True:
            w = self.u32()
            if w < limit:
                return w % bound

    def sample(self, items, count):
        items = list(items)
        return sorted(items.pop(self.below(len(items))) for _ in range(count))


# ---------------------------------------------------------------------------------------------------- curve and signatures
def x25519_base(sk):
    return X25519PrivateKey.from_private_bytes(sk).public_key().public_bytes_raw()


def x25519(sk, pk):
    """Shared secret, refused when it is all zero (low-order point)."""
    try:
        return X25519PrivateKey.from_private_bytes(sk).exchange(X25519PublicKey.from_public_bytes(pk))
    except ValueError:
        raise Refused("low_order_key", "C08") from None


def check_dh_key(pk):
    need(int.from_bytes(pk, "little") < P25519, "non_canonical_key", "C08")
    x25519(b"\x01" * 32, pk)


def ed_public(seed): return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
def ed_sign(seed, message): return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def ed_verify(pk, message, sig):
    try:
        Ed25519PublicKey.from_public_bytes(pk).verify(sig, message)
        return True
    except (InvalidSignature, ValueError):
        return False


# ---------------------------------------------------------------------------------------------------- round configuration
@dataclass
class RoundConfig:
    task_id: str
    round: int
    server_nonce: bytes
    model_digest: bytes
    plan_digest: bytes
    vectors: list                       # [(name, length)]
    wire_bits: int
    clip: float
    grid: int                           # S: clip norm in grid units
    flatten: int
    rotation_seed: bytes
    mechanism: int                      # 0 none, 1 distributed discrete Gaussian
    local_variance: int
    n_honest: int
    rho: int                            # per round, units of 2^-40
    policy_id: str
    profile: int
    param_class: int
    n_lo: int
    n_hi: int
    u3_min: int
    closing: list                       # T0..T4, Unix milliseconds
    identity_root: bytes
    suite: int = SUITE
    protocol: int = PROTOCOL

    def encode(self):
        text = lambda s: u16(len(s.encode())) + s.encode()
        return b"".join([
            bytes([self.protocol, self.suite]), text(self.task_id), u64(self.round), self.server_nonce,
            self.model_digest, self.plan_digest, u16(len(self.vectors)),
            *(text(name) + u64(length) for name, length in self.vectors),
            bytes([self.wire_bits]), struct.pack("<d", self.clip), u32(self.grid), bytes([self.flatten]),
            self.rotation_seed, bytes([self.mechanism]), u64(self.local_variance), u32(self.n_honest), u64(self.rho),
            text(self.policy_id), bytes([self.profile, self.param_class]), u32(self.n_lo), u32(self.n_hi),
            u32(self.u3_min), *(u64(t) for t in self.closing), self.identity_root])

    @staticmethod
    def decode(data):
        """Strict: every rule that needs no context, and not one byte left over."""
        at = 0

        def take(n):
            nonlocal at
            need(at + n <= len(data), "malformed")
            at += n
            return data[at - n:at]
        num = lambda n: int.from_bytes(take(n), "little")

        def text():
            raw = take(num(2))
            need(1 <= len(raw) <= 255, "malformed")
            try:
                return raw.decode()
            except UnicodeDecodeError:
                raise Refused("malformed") from None
        protocol, suite = num(1), num(1)
        need(protocol == PROTOCOL and suite == SUITE, "malformed")
        task_id, rnd, nonce, model, plan = text(), num(8), take(32), take(32), take(32)
        vectors = [(text(), num(8)) for _ in range(num(2))]
        need(1 <= len(vectors) and len({n for n, _ in vectors}) == len(vectors), "malformed")
        need(all(1 <= length <= 2**36 for _, length in vectors), "malformed")
        bits, clip, grid, flatten, rotation = num(1), struct.unpack("<d", take(8))[0], num(4), num(1), take(32)
        need(8 <= bits <= 32 and math.isfinite(clip) and clip > 0 and grid >= 1 and flatten <= 1, "malformed")
        need(flatten == 1 or rotation == bytes(32), "malformed")
        mech, var, honest, rho, policy = num(1), num(8), num(4), num(8), text()
        need(mech <= 1 and (mech == 1 or var == honest == rho == 0), "malformed")
        profile, cls, n_lo, n_hi, u3_min = num(1), num(1), num(4), num(4), num(4)
        need(profile <= 1 and cls < len(CLASSES), "malformed")
        closing, root = [num(8) for _ in range(5)], take(32)
        need(all(a < b for a, b in zip(closing, closing[1:])), "malformed")
        need(at == len(data), "malformed")
        return RoundConfig(task_id, rnd, nonce, model, plan, vectors, bits, clip, grid, flatten, rotation, mech, var,
                           honest, rho, policy, profile, cls, n_lo, n_hi, u3_min, closing, root)

    @property
    def cfg(self): return H(b"FLSA1/cfg", self.encode())

    @property
    def dim(self): return sum(length for _, length in self.vectors)

    @property
    def floor3(self): return max(FLOOR, self.u3_min)


def config_statement(cfg): return b"FLSA1/task" + cfg


@dataclass
class Policy:
    """What one device knows by itself when a RoundConfig arrives."""
    task_pk: bytes
    model_digest: bytes                 # of the bytes it trains on
    vectors: list                       # of the plan it was built for
    last_round: int = 0                 # highest round of this task that it ever joined
    min_clients: int = FLOOR            # the host may raise it
    ledger_allows: bool = True


def noise_fits(bits, n_hi, grid, variance):
    """2^b > 2 (n (S+1) + 8 sqrt(n v)), in integers."""
    room = (1 << (bits - 1)) - n_hi * (grid + 1)
    return room > 0 and room * room > 64 * n_hi * variance


def corrupt(n, cls): return -(-CLASSES[cls][0] * n // 100)
def dropped(n, cls): return -(-CLASSES[cls][1] * n // 100)


def check_config(data, signature, policy, now):
    """Everything a client verifies before it trains (docs/protocol/round-config.md). Returns the decoded configuration."""
    c = RoundConfig.decode(data)
    need(len(signature) == 64 and ed_verify(policy.task_pk, config_statement(c.cfg), signature), "config_signature", "C01")
    need(c.model_digest == policy.model_digest, "model_digest", "C02")
    need(c.round > policy.last_round, "round_not_newer", "C03")
    floor = max(FLOOR, policy.min_clients)
    need(c.n_lo >= floor and c.u3_min >= floor, "cohort_floor", "C04")
    n_cap = PROFILE_M_UP_TO if c.profile == PROFILE_M else N_MAX
    need(c.u3_min <= c.n_lo <= c.n_hi <= n_cap, "policy", "C05")
    if c.mechanism == 1:
        need(c.n_honest >= 1 and c.n_honest + corrupt(c.n_hi, c.param_class) <= c.u3_min, "policy", "C05")
        need(c.local_variance >= 4, "policy", "C05")                        # s >= 2
    need(c.vectors == policy.vectors, "plan", "C26")
    need(c.grid * c.grid >= 16 * c.dim, "width", "C13")                     # S >= 4 sqrt d
    need(c.flatten == 1 or noise_fits(c.wire_bits, c.n_hi, c.grid, c.local_variance), "width", "C13")
    need(now < c.closing[0], "deadline", "C25")
    return c


# ---------------------------------------------------------------------------------------------------- parameters
def hg_at_least(N, K, k, t):
    """Numerator over comb(N, k) of Pr[HG(N, K, k) >= t], exactly."""
    lo, hi = max(t, 0, k - (N - K)), min(k, K)
    if lo > hi:
        return 0
    term = total = math.comb(K, lo) * math.comb(N - K, k - lo)
    for j in range(lo, hi):
        term = term * (K - j) * (k - j) // ((j + 1) * (N - K - k + j + 1))
        total += term
    return total


def sparse_threshold(n, cls, k):
    """Smallest t that makes degree k acceptable under rule S (docs/protocol/graph.md), or None."""
    c, d = corrupt(n, cls), dropped(n, cls)
    if k <= c + d:                                                                              # E2
        num, den = n * (n - k - 1), 2
        for i in range(k):
            num, den = num * (c + d - i), den * (n - i)
        if num << (ETA + 1) > den:
            return None
    everything, lowest = math.comb(n - 1, k), max(k // 2 + 1, 2)
    secret = lambda t: (n * hg_at_least(n - 1, c, k, t)) << (ETA + 1) <= everything             # E1: holds from some t on
    correct = lambda t: (n * hg_at_least(n - 1, d, k, k - t + 1)) << SIGMA <= everything        # E3: holds up to some t
    if not correct(lowest):
        return None
    t = lowest + bisect.bisect_left(range(lowest, k + 1), True, key=secret)
    return t if t <= k and correct(t) else None


_params_cache = {}


def params(n, profile, cls):
    """(k, t, graph) = TABLE[profile, class](n). Complete graph: t = floor((k + c)/2) + 1 in both profiles."""
    key = (n, profile, cls)
    if key in _params_cache:
        return _params_cache[key]
    need(FLOOR <= n <= (PROFILE_M_UP_TO if profile == PROFILE_M else N_MAX), "parameters", "C10")
    if profile == PROFILE_M or n <= COMPLETE_UP_TO:
        k = n - 1
        t = (k + corrupt(n, cls)) // 2 + 1
        need(t <= k - dropped(n, cls), "parameters", "C10")
        result = (k, t, "complete")
    else:
        k = next(k for k in range(2, n - 1, 2) if sparse_threshold(n, cls, k))
        result = (k, sparse_threshold(n, cls, k), "sparse")
    _params_cache[key] = result
    return result


def window_limit(n, cls, k, q=0):
    """Window limit q_d: smallest q with n Pr[HG(n, d, k/2) > q] <= 2^-40. The search may start anywhere."""
    rare = lambda q: (n * hg_at_least(n, dropped(n, cls), k // 2, q + 1)) << SIGMA <= math.comb(n, k // 2)
    while q > 0 and rare(q - 1):
        q -= 1
    while not rare(q):
        q += 1
    return q


def check_threshold(n, k, t, profile, cls):
    """C10 for a (k, t) that claims to be the table's."""
    need(FLOOR <= n, "cohort_floor", "C04")
    need(2 <= k <= n - 1 and t <= k and 2 * t > k, "parameters", "C10")
    need((k, t) == params(n, profile, cls)[:2], "parameters", "C10")


# ---------------------------------------------------------------------------------------------------- roster
@dataclass(frozen=True)
class Entry:
    id_pk: bytes
    c_pk: bytes
    s_pk: bytes
    sig: bytes

    def encode(self): return self.id_pk + self.c_pk + self.s_pk + self.sig

    @staticmethod
    def decode(b): return Entry(b[:32], b[32:64], b[64:96], b[96:160])

    @property
    def leaf(self): return H(b"\x00", b"FLSA1/leaf", self.encode())


def advertise_statement(cfg, id_pk, c_pk, s_pk): return b"FLSA1/adv" + cfg + id_pk + c_pk + s_pk
def node(left, right): return H(b"\x01", left, right)


def merkle_levels(leaves):
    """All levels, leaves first. A node without a right sibling moves up unchanged."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        row = levels[-1]
        levels.append([node(row[i], row[i + 1]) if i + 1 < len(row) else row[i] for i in range(0, len(row), 2)])
    return levels


def merkle_root(leaves): return merkle_levels(leaves)[-1][0]


def multiproof(leaves, indices):
    """Hashes that a holder of the leaves `indices` lacks, level by level from the leaves, left to right."""
    out, known = [], sorted(set(indices))
    for row in merkle_levels(leaves)[:-1]:
        for i in known:
            if i ^ 1 < len(row) and i ^ 1 not in known:
                out.append(row[i ^ 1])
        known = sorted({i // 2 for i in known})
    return out


def multiproof_root(n, known, proof):
    """Root from n, {index: leaf} and the proof; refused unless every proof hash is used exactly once."""
    proof, width = list(proof), n
    while width > 1:
        parents = {}
        for i in sorted(known):
            if i // 2 in parents:
                continue
            if i ^ 1 >= width:
                parents[i // 2] = known[i]
                continue
            if i ^ 1 in known:
                other = known[i ^ 1]
            else:
                need(proof, "malformed")
                other = proof.pop(0)
            parents[i // 2] = node(known[i], other) if i % 2 == 0 else node(other, known[i])
        known, width = parents, (width + 1) // 2
    need(not proof, "malformed")
    return known[0]


def session_id(cfg, n, root): return H(b"FLSA1/sid", cfg, u32(n), root)


# ---------------------------------------------------------------------------------------------------- graph
def graph_seed(sid): return H(b"FLSA1/graph", sid, BEACON)


def permutation(n, gseed):
    """perm[p] = index of the client at ring position p. Fisher-Yates from the top."""
    rng, perm = Rng(gseed), list(range(n))
    for i in range(n - 1, 0, -1):
        r = rng.below(i + 1)
        perm[i], perm[r] = perm[r], perm[i]
    return perm


def harary(perm, k):
    """[sorted neighbours of i] for every i."""
    n, near = len(perm), [None] * len(perm)
    for p, i in enumerate(perm):
        near[i] = sorted(perm[(p + d) % n] for d in itertools.chain(range(-(k // 2), 0), range(1, k // 2 + 1)))
    return near


def neighbourhoods(n, k, graph, sid):
    if graph == "complete":
        return [[j for j in range(n) if j != i] for i in range(n)], None
    perm = permutation(n, graph_seed(sid))
    return harary(perm, k), perm


def prune(near, t, sharers):
    """Stage 1: leave out whoever has fewer than t neighbours left, until nobody has."""
    alive = set(sharers)
    while True:
        weak = {i for i in alive if len(alive.intersection(near[i])) < t}
        if not weak:
            return alive
        alive -= weak


def connected(near, alive):
    if not alive:
        return False
    seen, todo = set(), [min(alive)]
    while todo:
        i = todo.pop()
        if i not in seen:
            seen.add(i)
            todo += [j for j in near[i] if j in alive and j not in seen]
    return seen == set(alive)


def worst_window(perm, k, alive):
    """Largest number of absent clients among k/2 consecutive ring positions."""
    gone = [i not in alive for i in perm]
    return max(sum(gone[(p + d) % len(perm)] for d in range(k // 2)) for p in range(len(perm)))


# ---------------------------------------------------------------------------------------------------- bitmaps, statements
def bitmap(n, members):
    out = bytearray((n + 7) // 8)
    for i in members:
        out[i // 8] |= 1 << (i % 8)
    return bytes(out)


def members(n, data):
    need(len(data) == (n + 7) // 8, "malformed")
    bits = int.from_bytes(data, "little")
    need(bits >> n == 0, "malformed")
    return {i for i in range(n) if bits >> i & 1}


def survivor_statement(sid, bitmap2, bitmap3): return b"FLSA1/u3" + sid + H(bitmap2) + H(bitmap3)


# ---------------------------------------------------------------------------------------------------- secret sharing
def wide_scalar(b64): return int.from_bytes(b64, "little") % L
def scalar_bytes(x): return x.to_bytes(32, "little")


def scalar_decode(b):
    x = int.from_bytes(b, "little")
    need(len(b) == 32 and x < L, "non_canonical_scalar", "C12")
    return x


def shamir_shares(coefficients, k):
    """Shares for x = 1..k; coefficients[0] is the secret."""
    need(2 <= len(coefficients) <= k, "parameters", "C10")
    out = []
    for x in range(1, k + 1):
        y = 0
        for c in reversed(coefficients):
            y = (y * x + c) % L
        out.append(y)
    return out


def shamir_rebuild(points, t):
    """Secret from {x: y}, using every point: plain Lagrange at 0."""
    need(len(points) >= t, "too_few_shares")
    total = 0
    for j in points:
        num = den = 1
        for m in points:
            if m != j:
                num, den = num * m % L, den * (m - j) % L
        total = (total + points[j] * num * pow(den, -1, L)) % L
    return total


def lagrange_by_missing(k, present):
    """The same weights by another formula."""
    missing = [m for m in range(1, k + 1) if m not in present]
    out = {}
    for j in present:
        w = (-1) ** (j - 1) * math.comb(k, j) % L
        for m in missing:
            w = w * (m - j) * pow(m, -1, L) % L
        out[j] = w
    return out


def subset_starts(r):
    """At most 64 starting points, spread over r responders, for the search after a failed check."""
    tries = min(64, r)
    return [s * r // tries for s in range(tries)]


def rebuild_checked(points, t, good):
    """Secret that passes `good`, from all points or else from t consecutive ones (cyclic, ascending x)."""
    value = shamir_rebuild(points, t)
    if good(value):
        return value
    xs = sorted(points)
    for s in subset_starts(len(xs)):
        chosen = [xs[(s + d) % len(xs)] for d in range(t)]
        value = shamir_rebuild({x: points[x] for x in chosen}, t)
        if good(value):
            return value
    raise Refused("secret_mismatch")


# ---------------------------------------------------------------------------------------------------- derived keys
def mask_secret_key(cfg, a): return hkdf(cfg, scalar_bytes(a), b"FLSA1/ssk")
def self_mask_key(sid, id_pk, b): return hkdf(sid, scalar_bytes(b), b"FLSA1/self" + id_pk)
def commitment(sid, id_pk, b): return H(b"FLSA1/com", sid, id_pk, scalar_bytes(b))


def pair_mask_key(sid, my_sk, my_pk, peer_pk):
    return hkdf(sid, x25519(my_sk, peer_pk), b"FLSA1/mask" + min(my_pk, peer_pk) + max(my_pk, peer_pk))


def share_key(sid, ss, from_pk, to_pk): return hkdf(sid, ss, b"FLSA1/share" + from_pk + to_pk)
def share_aad(sid, i, j): return b"FLSA1/share" + sid + u32(i) + u32(j)
def sign_of(my_s_pk, peer_s_pk): return 1 if my_s_pk < peer_s_pk else -1
def seal(key, plaintext, aad): return ChaCha20Poly1305(key).encrypt(bytes(12), plaintext, aad)


def open_sealed(key, sealed, aad):
    try:
        return ChaCha20Poly1305(key).decrypt(bytes(12), sealed, aad)
    except InvalidTag:
        return None


# ---------------------------------------------------------------------------------------------------- packing, quantiser
def pack(values, bits):
    """Entry e in bits e b .. e b + b - 1 of one little-endian bit string; spare high bits are zero."""
    low = np.asarray(values, np.uint32)
    planes = (low[:, None] >> np.arange(bits, dtype=np.uint32)) & np.uint32(1)
    return np.packbits(planes.astype(np.uint8).reshape(-1), bitorder="little").tobytes()


def unpack(data, count, bits):
    need(len(data) == (count * bits + 7) // 8, "wrong_length")
    stream = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    need(not stream[count * bits:].any(), "padding_bits")
    planes = stream[:count * bits].reshape(count, bits).astype(np.uint64)
    return (planes << np.arange(bits, dtype=np.uint64)).sum(axis=1).astype(np.uint32)


def norm_bound_squared(grid, dim):
    """floor(D2^2). With beta = e^-1/2 the second bound is always the smaller: S^2 + S + d/4 + sqrt(d)/2."""
    return grid * grid + grid + (dim + math.isqrt(4 * dim)) // 4


def to_grid(x32, clip, grid):
    """float32 update -> float64 grid units. Sequential float64 sum of squares; C shrunk by 1 + 2^-20."""
    x = [float(v) for v in x32]
    need(all(math.isfinite(v) for v in x), "not_finite")
    total = 0.0
    for v in x:
        total += v * v
    factor = float(grid) / (max(clip, math.sqrt(total)) * (1.0 + 2.0**-20))
    return [v * factor for v in x]


def stochastic_round(z, grid, uniforms):
    """Conditional stochastic rounding. Returns (integers, attempts used, truncated?).

    Each attempt draws one u64 per entry and uses its top 53 bits: up iff that integer is below frac 2^53."""
    bound, draw = norm_bound_squared(grid, len(z)), iter(uniforms)
    for attempt in range(1, 17):
        out = []
        for v in z:
            low = math.floor(v)
            out.append(low + ((next(draw) >> 11) < (v - low) * 2.0**53))
        if sum(v * v for v in out) <= bound:
            return out, attempt, False
    out = [math.trunc(v) for v in z]
    need(sum(v * v for v in out) <= bound, "norm")
    return out, 16, True


# ---------------------------------------------------------------------------------------------------- masks
def mask_total(signed_keys, vector, length):
    """Sum over (sign, key) of sign x keystream, modulo 2^32."""
    total, batch = np.zeros(length, np.uint32), max(1, (1 << 19) // max(length, 256))
    for at in range(0, len(signed_keys), batch):
        part = signed_keys[at:at + batch]
        rows = cc20_l16([key for _, key in part], vector, 0, length)
        for (sign, _), row in zip(part, rows):
            total = total + row if sign > 0 else total - row
    return total


# ---------------------------------------------------------------------------------------------------- one client
class Client:
    """Stages 0..4 of one device. `handle` answers a message or raises Refused; a refusal is final."""

    def __init__(self, id_seed, rng_seed, policy):
        self.id_seed, self.rng, self.policy = id_seed, Rng(rng_seed), policy
        self.id_pk, self.stage, self.last = ed_public(id_seed), 0, None

    def handle(self, stage, message, now, x=None):
        """stage 0: message = configuration ‖ its signature; 1: (form, bytes); 2..4: bytes. x only in stage 2."""
        try:
            if self.last and self.last[:2] == (stage, message) and self.stage <= 4:
                return self.last[2]                                      # retry: identical bytes
            if stage == self.stage - 1 and stage in (2, 3):
                raise Refused("second_input", "C15") if stage == 2 else Refused("second_statement", "C19")
            need(stage == self.stage, "stage_order", "C22")
            if stage > 0:
                need(now < self.config.closing[stage], "deadline", "C25")
            if stage == 0:
                out = self._advertise(message, now)
            elif stage == 1:
                out = self._share(*message)
            elif stage == 2:
                out = self._mask(message, x)
            elif stage == 3:
                out = self._agree(message)
            else:
                out = self._unmask(message)
        except Refused:
            self.stage = 99                                              # wiped
            raise
        self.stage, self.last = stage + 1, (stage, message, out)
        return out

    def _advertise(self, message, now):
        self.config = check_config(message[:-64], message[-64:], self.policy, now)
        self.cfg = self.config.cfg
        self.a = wide_scalar(self.rng.bytes(64))
        self.c_sk = self.rng.bytes(32)
        self.s_sk = mask_secret_key(self.cfg, self.a)
        self.c_pk, self.s_pk = x25519_base(self.c_sk), x25519_base(self.s_sk)
        self.sig = ed_sign(self.id_seed, advertise_statement(self.cfg, self.id_pk, self.c_pk, self.s_pk))
        self.entry = Entry(self.id_pk, self.c_pk, self.s_pk, self.sig)
        return self.id_pk + self.c_pk + self.s_pk + self.cfg + self.sig

    def _read_roster(self, form, data):
        """{index: entry}, n, and a function that gives the root."""
        if form == "complete":
            need(len(data) % 160 == 0, "malformed")
            n = len(data) // 160
            entries = {i: Entry.decode(data[160 * i:160 * i + 160]) for i in range(n)}
            return n, None, entries, lambda: merkle_root([entries[i].leaf for i in range(n)])
        need(len(data) >= 44, "malformed")
        n, root, own, count = int.from_bytes(data[:4], "little"), data[4:36], *struct.unpack("<2I", data[36:44])
        end = 44 + 164 * count
        need(len(data) >= end + 4, "malformed")
        listed = [data[p:p + 164] for p in range(44, end, 164)]
        indices = [int.from_bytes(e[:4], "little") for e in listed]
        need(all(p < q for p, q in zip(indices, indices[1:])) and count > 0 and indices[-1] < n, "malformed")
        hashes = int.from_bytes(data[end:end + 4], "little")
        need(len(data) == end + 4 + 32 * hashes, "malformed")
        proof = [data[p:p + 32] for p in range(end + 4, len(data), 32)]
        entries = {i: Entry.decode(e[4:]) for i, e in zip(indices, listed)}

        def check():
            need(multiproof_root(n, {i: e.leaf for i, e in entries.items()}, proof) == root, "roster_root", "C09")
            return root
        return n, own, entries, check

    def _share(self, form, data):
        c = self.config
        n, own, entries, find_root = self._read_roster(form, data)
        need(n >= max(FLOOR, self.policy.min_clients) and c.n_lo <= n <= c.n_hi, "cohort_floor", "C04")
        self.k, self.t, graph = params(n, c.profile, c.param_class)
        need(graph == form, "parameters", "C10")
        mine = [i for i, e in entries.items() if e.id_pk == self.id_pk or e.c_pk == self.c_pk or e.s_pk == self.s_pk]
        need(len(mine) == 1 and entries[mine[0]] == self.entry and own in (None, mine[0]), "own_entry", "C06")
        for e in entries.values():
            need(ed_verify(e.id_pk, advertise_statement(self.cfg, e.id_pk, e.c_pk, e.s_pk), e.sig),
                 "roster_signature", "C07")
        for get in (lambda e: e.id_pk, lambda e: e.c_pk, lambda e: e.s_pk):
            need(len({get(e) for e in entries.values()}) == len(entries), "duplicate_key", "C08")
        for e in entries.values():
            need(e.c_pk != e.s_pk, "duplicate_key", "C08")
            check_dh_key(e.c_pk)
            check_dh_key(e.s_pk)
        leaves = [entries[i].leaf for i in sorted(entries)]
        need(all(p < q for p, q in zip(leaves, leaves[1:])), "roster_root", "C09")
        self.n, self.i, self.entries, self.root = n, mine[0], entries, find_root()
        self.sid = session_id(self.cfg, n, self.root)
        near, self.perm = neighbourhoods(n, self.k, graph, self.sid)
        self.near = near[self.i]
        need(sorted(entries) == sorted(self.near + [self.i]), "neighbours", "C11")
        self.share_ss = {j: x25519(self.c_sk, entries[j].c_pk) for j in self.near}
        self.mask_key = {j: pair_mask_key(self.sid, self.s_sk, self.s_pk, entries[j].s_pk) for j in self.near}
        self.b = wide_scalar(self.rng.bytes(64))
        self.poly_b = [self.b] + [wide_scalar(self.rng.bytes(64)) for _ in range(self.t - 1)]
        self.poly_a = [self.a] + [wide_scalar(self.rng.bytes(64)) for _ in range(self.t - 1)]
        self.com, self.k_self = commitment(self.sid, self.id_pk, self.b), self_mask_key(self.sid, self.id_pk, self.b)
        out = b""
        for j, sb, sa in zip(self.near, shamir_shares(self.poly_b, self.k), shamir_shares(self.poly_a, self.k)):
            out += seal(share_key(self.sid, self.share_ss[j], self.c_pk, entries[j].c_pk),
                        scalar_bytes(sb) + scalar_bytes(sa), share_aad(self.sid, self.i, j))
        return out + self.com

    def _mask(self, data, x):
        size = (self.n + 7) // 8
        need(len(data) >= size, "malformed")
        self.bitmap2 = data[:size]
        self.u2 = members(self.n, self.bitmap2)
        self.live = [j for j in self.near if j in self.u2]
        need(len(data) == size + 80 * len(self.live), "malformed")
        need(self.i in self.u2, "not_listed", "C12")
        need(len(self.u2) >= self.config.floor3, "cohort_floor", "C04")
        need(len(self.live) >= self.t, "too_few_neighbours", "C12")
        self.shares = {}
        for r, j in enumerate(self.live):
            sealed = data[size + 80 * r:size + 80 * r + 80]
            key = share_key(self.sid, self.share_ss[j], self.entries[j].c_pk, self.c_pk)
            plain = open_sealed(key, sealed, share_aad(self.sid, j, self.i))
            need(plain is not None, "bad_share", "C12", j)
            try:
                scalar_decode(plain[:32]), scalar_decode(plain[32:])
            except Refused:
                raise Refused("bad_share", "C12", j) from None
            self.shares[j] = (plain[:32], plain[32:])
        need(self.policy.ledger_allows, "ledger", "C14")
        need([len(v) for v in x] == [length for _, length in self.config.vectors], "plan", "C26")
        keys = [(1, self.k_self)] + [(sign_of(self.s_pk, self.entries[j].s_pk), self.mask_key[j]) for j in self.live]
        self.y = [np.asarray(v, np.uint32) + mask_total(keys, index, len(v)) for index, v in enumerate(x)]
        return b"".join(pack(v, self.config.wire_bits) for v in self.y)

    def _agree(self, data):
        self.bitmap3, self.u3 = data, members(self.n, data)
        need(self.i in self.u3, "survivors", "C16")
        need(self.u3 <= self.u2, "survivors", "C16")
        need(len(self.u3) >= self.config.floor3, "cohort_floor", "C04")
        need(len(self.u3.intersection(self.near)) >= self.t, "too_few_neighbours", "C17")
        if self.perm:
            limit = window_limit(self.n, self.config.param_class, self.k)
            need(worst_window(self.perm, self.k, self.u3) <= limit, "window", "C18")
        return ed_sign(self.id_seed, survivor_statement(self.sid, self.bitmap2, self.bitmap3))

    def _unmask(self, data):
        need(len(data) % 68 == 0, "malformed")
        statement, valid, before = survivor_statement(self.sid, self.bitmap2, self.bitmap3), 0, -1
        for p in range(0, len(data), 68):
            j, sig = int.from_bytes(data[p:p + 4], "little"), data[p + 4:p + 68]
            need(j > before and j in self.u3 and j in self.near, "agreement", "C20")
            valid, before = valid + ed_verify(self.entries[j].id_pk, statement, sig), j
        need(valid >= self.t, "agreement", "C20")
        return b"".join(self.shares[j][0 if j in self.u3 else 1] for j in self.live)


# ---------------------------------------------------------------------------------------------------- the server
class Server:
    """Collects one stage after the other. Refused from a message concerns that message; from close() the session."""

    def __init__(self, config, known_keys=()):
        self.config, self.cfg, self.stage = config, config.cfg, 0
        self.known, self.entries, self.got = set(known_keys), [], {}
        self.total = [np.zeros(length, np.uint32) for _, length in config.vectors]

    def receive(self, stage, sender, data):
        """sender: roster index, or None in stage 0."""
        need(stage >= self.stage, "late")
        need(stage == self.stage, "stage_order")
        if stage == 0:
            return self._advertise(data)
        need(sender in self.expected, "not_expected")
        if sender in self.got:
            need(self.got[sender] == data, "duplicate")
            return
        if stage == 1:
            need(len(data) == 80 * len(self.near[sender]) + 32, "wrong_length")
        elif stage == 2:
            self._commit(data)
        elif stage == 3:
            need(len(data) == 64, "wrong_length")
            need(ed_verify(self.entries[sender].id_pk, self.statement, data), "bad_signature")
        else:
            need(len(data) == 32 * len([j for j in self.near[sender] if j in self.u2]), "wrong_length")
            for p in range(0, len(data), 32):
                need(int.from_bytes(data[p:p + 32], "little") < L, "non_canonical_scalar")
        self.got[sender] = data

    def _advertise(self, data):
        need(len(data) == 192, "wrong_length")
        id_pk, c_pk, s_pk, cfg, sig = data[:32], data[32:64], data[64:96], data[96:128], data[128:]
        entry = Entry(id_pk, c_pk, s_pk, sig)
        if entry in self.entries:
            return
        need(cfg == self.cfg, "wrong_config")
        need(ed_verify(id_pk, advertise_statement(cfg, id_pk, c_pk, s_pk), sig), "bad_signature")
        need(c_pk != s_pk, "duplicate_key")
        check_dh_key(c_pk)
        check_dh_key(s_pk)
        need(all(e.id_pk != id_pk for e in self.entries), "duplicate_identity")
        need(c_pk not in self.known and s_pk not in self.known, "duplicate_key")
        need(len(self.entries) < self.config.n_hi, "full")
        self.known |= {c_pk, s_pk}
        self.entries.append(entry)

    def _commit(self, data):
        parts, at = [], 0
        bits = self.config.wire_bits
        sizes = [(length * bits + 7) // 8 for _, length in self.config.vectors]
        need(len(data) == sum(sizes), "wrong_length")
        for (_, length), size in zip(self.config.vectors, sizes):
            parts.append(unpack(data[at:at + size], length, bits))
            at += size
        self.total = [a + b for a, b in zip(self.total, parts)]

    def close(self):
        """Ends the running stage; raises Refused when the session has to be abandoned."""
        stage, got, self.got = self.stage, self.got, {}
        self.stage = 98                                                  # stays so when the session is abandoned
        if stage == 0:
            self._close_roster()
        elif stage == 1:
            self.shared, self.u1 = got, set(range(self.n))
            self.u2 = prune(self.near, self.t, set(got))
            need(len(self.u2) >= self.config.floor3, "too_few_sharers")
            self.com = {i: got[i][-32:] for i in self.u2}
            self.bitmap2, self.expected = bitmap(self.n, self.u2), self.u2
        elif stage == 2:
            self.u3 = set(got)
            need(len(self.u3) >= self.config.floor3, "too_few_inputs")
            need(all(len(self.u3.intersection(self.near[i])) >= self.t for i in self.u3), "weak_neighbourhood")
            need(connected(self.near, self.u3), "disconnected")
            self.bitmap3, self.expected = bitmap(self.n, self.u3), self.u3
            self.statement = survivor_statement(self.sid, self.bitmap2, self.bitmap3)
        elif stage == 3:
            self.u4, self.signatures, self.expected = set(got), got, set(got)
        else:
            self.u5 = set(got)
            self._unmask(got)
        self.stage = stage + 1

    def _close_roster(self):
        need(len(self.entries) >= max(FLOOR, self.config.n_lo), "too_few_clients")
        self.entries.sort(key=lambda e: e.leaf)
        self.n, self.leaves = len(self.entries), [e.leaf for e in self.entries]
        self.k, self.t, self.graph = params(self.n, self.config.profile, self.config.param_class)
        self.root = merkle_root(self.leaves)
        self.sid = session_id(self.cfg, self.n, self.root)
        self.near, self.perm = neighbourhoods(self.n, self.k, self.graph, self.sid)
        self.expected = set(range(self.n))

    def message(self, i):
        """What goes down to client i at the start of the running stage 1..4."""
        if self.stage == 1:
            if self.graph == "complete":
                return self.graph, b"".join(e.encode() for e in self.entries)
            return self.graph, sparse_roster(self.entries, i, self.near[i])
        if self.stage == 2:
            out = self.bitmap2
            for j in self.near[i]:
                if j in self.u2:
                    r = self.near[j].index(i)
                    out += self.shared[j][80 * r:80 * r + 80]
            return out
        if self.stage == 3:
            return self.bitmap3
        signers = [j for j in self.near[i] if j in self.u4][:self.t]
        return b"".join(u32(j) + self.signatures[j] for j in signers)

    def _points(self, got, owner):
        """{x: share} of one owner from everybody who answered stage 4."""
        out = {}
        for rank, holder in enumerate(self.near[owner]):
            if holder in got:
                p = 32 * [j for j in self.near[holder] if j in self.u2].index(owner)
                out[1 + rank] = int.from_bytes(got[holder][p:p + 32], "little")
        return out

    def _unmask(self, got):
        self.rebuilt_a, self.rebuilt_b, masks = {}, {}, []
        for j in sorted(self.u2):
            e, points = self.entries[j], self._points(got, j)
            if j in self.u3:
                b = rebuild_checked(points, self.t, lambda v: commitment(self.sid, e.id_pk, v) == self.com[j])
                self.rebuilt_b[j] = b
                masks.append((-1, self_mask_key(self.sid, e.id_pk, b)))
            else:
                a = rebuild_checked(points, self.t, lambda v: x25519_base(mask_secret_key(self.cfg, v)) == e.s_pk)
                self.rebuilt_a[j] = a
                s_sk = mask_secret_key(self.cfg, a)
                for v in self.near[j]:
                    if v in self.u3:
                        peer = self.entries[v].s_pk
                        masks.append((-sign_of(peer, e.s_pk), pair_mask_key(self.sid, s_sk, e.s_pk, peer)))
        low = np.uint32((1 << self.config.wire_bits) - 1)
        self.sums = [(total + mask_total(masks, v, len(total))) & low for v, total in enumerate(self.total)]


def sparse_roster(entries, i, near):
    shown = sorted(near + [i])
    leaves = [e.leaf for e in entries]
    proof = multiproof(leaves, shown)
    return (u32(len(entries)) + merkle_root(leaves) + u32(i) + u32(len(shown))
            + b"".join(u32(j) + entries[j].encode() for j in shown) + u32(len(proof)) + b"".join(proof))


# ---------------------------------------------------------------------------------------------------- whole sessions
@dataclass
class Session:
    config: RoundConfig
    signature: bytes
    policy: Policy
    clients: list = None                # in roster order once stage 0 is over
    server: Server = None
    inputs: list = None                 # [client][vector] u32 arrays, roster order
    down: dict = field(default_factory=lambda: {s: {} for s in range(5)})
    up: dict = field(default_factory=lambda: {s: {} for s in range(5)})
    arrivals: list = None               # stage-0 messages in the order of arrival

    @property
    def config_message(self): return self.config.encode() + self.signature


def run_session(session, seeds, make_input, script, tamper=None):
    """seeds: [(id_seed, rng_seed)]. script(server) -> {stage: indices that fall silent before answering it}.
    tamper(stage, index, bytes) may change what a client sends. Checks the sum against the plain one."""
    s, now = session, 0
    people = [Client(i, r, s.policy) for i, r in seeds]
    server = s.server = Server(s.config)
    first = {p.id_pk: p.handle(0, s.config_message, now) for p in people}
    s.arrivals = list(first.values())
    for m in s.arrivals:
        server.receive(0, None, m)
    server.close()
    rank = {e.id_pk: i for i, e in enumerate(server.entries)}
    s.clients = sorted(people, key=lambda p: rank[p.id_pk])
    s.inputs = [make_input(i) for i in range(server.n)]
    s.down[0] = {i: s.config_message for i in range(server.n)}
    s.up[0] = {i: first[p.id_pk] for i, p in enumerate(s.clients)}
    s.drops = script(server)
    for stage in range(1, 5):
        for i in sorted(server.expected):
            s.down[stage][i] = server.message(i)
            if i in s.drops.get(stage, ()):
                continue
            out = s.clients[i].handle(stage, s.down[stage][i], now, s.inputs[i] if stage == 2 else None)
            if tamper:
                out = tamper(stage, i, out)
            s.up[stage][i] = out
            server.receive(stage, i, out)
        server.close()
    low = np.uint32((1 << s.config.wire_bits) - 1)
    for v in range(len(s.config.vectors)):
        plain = sum(np.asarray(s.inputs[i][v], np.uint32).astype(np.uint64) for i in server.u3)
        assert np.array_equal((plain & np.uint64(low)).astype(np.uint32), server.sums[v]), "sum differs"
    return s
