#!/usr/bin/env python3
"""Known answers for the certificates of profile M: vectors/14_certificates.json.

Written from docs/protocol.md and the published RFCs, not from the Rust code, and with nothing but Python's own library:
Ed25519 (RFC 8032), X25519 (RFC 7748), HKDF (RFC 5869) and ChaCha20 (RFC 8439) are short enough to stand here. Slow and
not constant time: for made-up keys only.

    python3 certificates.py [seed [folder]]
"""
import hashlib
import hmac
import json
import pathlib
import struct
import sys

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493


def u16(x): return struct.pack("<H", x)
def u32(x): return struct.pack("<I", x)
def u64(x): return struct.pack("<Q", x)
def text(x): return u16(len(x)) + x.encode()
def H(*parts): return hashlib.sha256(b"".join(parts)).digest()


# ------------------------------------------------------------------------------------------------ Ed25519, RFC 8032
D = -121665 * pow(121666, P - 2, P) % P
BASE_Y = 4 * pow(5, P - 2, P) % P


def recover_x(y, sign):
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert (x * x - x2) % P == 0
    return P - x if x & 1 != sign else x


BASE = (recover_x(BASE_Y, 0), BASE_Y)


def add(p, q):
    (x1, y1), (x2, y2) = p, q
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, P - 2, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, P - 2, P)
    return x % P, y % P


def times(scalar, point):
    out = (0, 1)
    while scalar:
        if scalar & 1:
            out = add(out, point)
        point, scalar = add(point, point), scalar >> 1
    return out


def compress(point): return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


class Identity:
    def __init__(self, seed):
        digest = hashlib.sha512(seed).digest()
        self.seed, self.prefix = seed, digest[32:]
        self.scalar = int.from_bytes(digest[:32], "little") & (1 << 254) - 8 | 1 << 254
        self.pk = compress(times(self.scalar, BASE))

    def sign(self, message):
        r = int.from_bytes(hashlib.sha512(self.prefix + message).digest(), "little") % L
        point = compress(times(r, BASE))
        h = int.from_bytes(hashlib.sha512(point + self.pk + message).digest(), "little") % L
        return point + ((r + h * self.scalar) % L).to_bytes(32, "little")


# ------------------------------------------------------------------------------------- X25519, HKDF, ChaCha20's stream
def x25519_base(secret):
    """RFC 7748 section 5: the public key of 32 secret bytes."""
    k = int.from_bytes(secret, "little") & (1 << 254) - 8 | 1 << 254
    x1, x2, z2, x3, z3, swap = 9, 1, 0, 9, 1, 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % P, b * b % P, d * a % P, c * b % P
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


def hkdf(salt, ikm, info):
    prk = hmac.digest(salt, ikm, "sha256")
    return hmac.digest(prk, info + b"\1", "sha256")


def chacha20(key, counter):
    """One block of RFC 8439 with nonce 0."""
    state = list(struct.unpack("<16I", b"expand 32-byte k" + key + u32(counter) + bytes(12)))
    w = state[:]

    def quarter(a, b, c, d):
        for x, y, z, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            w[x] = w[x] + w[y] & 0xffffffff
            v = w[z] ^ w[x]
            w[z] = v << n & 0xffffffff | v >> 32 - n

    for _ in range(10):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (1 + i) % 4, 8 + (2 + i) % 4, 12 + (3 + i) % 4)
    return struct.pack("<16I", *((a + b) & 0xffffffff for a, b in zip(w, state)))


def self_test():
    """Section 7.1 of RFC 8032, section 6.1 of RFC 7748, A.1 of RFC 5869 (first 32 bytes), A.1 of RFC 8439."""
    key = Identity(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
    assert key.pk.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert key.sign(b"\x72").hex().startswith("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da")
    alice = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    assert x25519_base(alice).hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    okm = hkdf(bytes(range(13)), b"\x0b" * 22, bytes(range(0xf0, 0xfa)))
    assert okm.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
    assert chacha20(bytes(32), 0).hex().startswith("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7")


# ------------------------------------------------------------------------------------------------------ certificates
def statement(root_pk, id_pk, not_after): return b"FLSA1/cert" + root_pk + id_pk + u64(not_after)


def certify(root, id_pk, not_after): return u64(not_after) + root.sign(statement(root.pk, id_pk, not_after))


# ---------------------------------------------------------------------------------------------------------- a session
N, CLOSING, NOW = 12, [1000, 2000, 3000, 4000, 5000], 10


def config_bytes(draw, root_pk):
    out = b"\1\1" + text("certified") + u64(1) + draw("nonce") + draw("model") + draw("plan")
    out += u16(1) + text("update") + u64(7) + bytes([12]) + struct.pack("<d", 1.0) + u32(11) + bytes(33)
    out += b"\0" + u64(0) + u32(0) + u64(0) + text("policy") + b"\1\0" + u32(10) + u32(16) + u32(10)
    return out + b"".join(map(u64, CLOSING)) + root_pk


class Client:
    """A device in stage 0."""

    def __init__(self, draw, number, cfg, root, not_after):
        self.rng_seed, self.identity = draw(f"rng {number}"), Identity(draw(f"identity {number}"))
        stream = chacha20(self.rng_seed, 0) + chacha20(self.rng_seed, 1)
        a = int.from_bytes(stream[:64], "little") % L
        c_pk = x25519_base(stream[64:96])
        s_pk = x25519_base(hkdf(cfg, a.to_bytes(32, "little"), b"FLSA1/ssk"))
        keys = self.identity.pk + c_pk + s_pk
        sig = self.identity.sign(b"FLSA1/adv" + cfg + keys)
        self.entry, self.advertise = keys + sig, keys + cfg + sig
        self.certificate = certify(root, self.identity.pk, not_after)

    def leaf(self): return H(b"\0FLSA1/leaf", self.entry)


def merkle_root(row):
    while len(row) > 1:
        row = [H(b"\1", *pair) if len(pair) == 2 else pair[0] for pair in (row[i:i + 2] for i in range(0, len(row), 2))]
    return row[0]


def refused(reason, check=None): return {"reason": reason, "check": check, "blame": None}


def vectors(seed):
    def draw(label): return H(f"certificates/{seed}/{label}".encode())

    root, foreign, task = (Identity(draw(name)) for name in ("root", "foreign root", "task"))
    alice, bob = Identity(draw("alice")), Identity(draw("bob"))

    def case(name, certificate, root_pk, id_pk, at, bad=None):
        out = {"name": name, "certificate": certificate.hex(), "root_pk": root_pk.hex(), "id_pk": id_pk.hex(), "at": str(at)}
        return out | ({"refused": refused(bad)} if bad else {})

    issued = []
    for not_after in (0, 1, 1_700_000_000_000, 2**64 - 1):
        issued.append({"root_seed": root.seed.hex(), "id_pk": alice.pk.hex(), "not_after": str(not_after),
                       "statement": statement(root.pk, alice.pk, not_after).hex(),
                       "certificate": certify(root, alice.pk, not_after).hex()})
    good = certify(root, alice.pk, 5000)

    def flipped(at): return good[:at] + bytes([good[at] ^ 1]) + good[at + 1:]

    judged = [
        case("long before its end", good, root.pk, alice.pk, 0),
        case("at its end", good, root.pk, alice.pk, 5000),
        case("bad_one_millisecond_later", good, root.pk, alice.pk, 5001, "certificate_expired"),
        case("bad_at_the_end_of_time", good, root.pk, alice.pk, 2**64 - 1, "certificate_expired"),
        case("bad_another_identity", good, root.pk, bob.pk, 0, "certificate"),
        case("bad_foreign_root", certify(foreign, alice.pk, 5000), root.pk, alice.pk, 0, "certificate"),
        case("bad_other_root_asked", good, foreign.pk, alice.pk, 0, "certificate"),
        case("bad_longer_life", u64(6000) + good[8:], root.pk, alice.pk, 0, "certificate"),
        case("bad_signed_by_the_device", certify(alice, alice.pk, 5000), root.pk, alice.pk, 0, "certificate"),
        case("bad_first_bit", flipped(8), root.pk, alice.pk, 0, "certificate"),
        case("bad_last_bit", flipped(71), root.pk, alice.pk, 0, "certificate"),
        case("bad_expired_and_foreign", certify(foreign, alice.pk, 1), root.pk, alice.pk, 2, "certificate"),
        case("bad_short", good[:-1], root.pk, alice.pk, 0, "malformed"),
        case("bad_long", good + b"\0", root.pk, alice.pk, 0, "malformed"),
        case("bad_empty", b"", root.pk, alice.pk, 0, "malformed"),
    ]
    return {"protocol": 1, "suite": 1, "file": "14_certificates", "seed": str(seed),
            "issued": issued, "judged": judged, "session": session(draw, root, foreign, task)}


def session(draw, root, foreign, task):
    config = config_bytes(draw, root.pk)
    cfg = H(b"FLSA1/cfg", config)
    # The first device's certificate ends with the session, to the millisecond.
    clients = [Client(draw, i, cfg, root, CLOSING[4] + i * i) for i in range(N)]
    arrivals = clients[:]
    clients = sorted(clients, key=Client.leaf)
    tree_root = merkle_root([client.leaf() for client in clients])
    entries = [client.entry for client in clients]
    own = [client.certificate for client in clients]

    def roster(certificates): return b"".join(entry + mark for entry, mark in zip(entries, certificates))

    def instead(place, certificate): return roster(own[:place] + [certificate] + own[place + 1:])

    me, peer = 3, 7
    peer_pk = clients[peer].identity.pk
    swapped = own[:]
    swapped[1], swapped[peer] = own[peer], own[1]
    last = CLOSING[4]
    whole = roster(own)

    def shown(name, form, payload, reason, check="C07"):
        return {"name": name, "form": form, "roster": payload.hex(), "refused": refused(reason, check)}

    rosters = [
        shown("bad_none", "complete", b"".join(entries), "certificate_missing"),
        shown("bad_foreign_root", "certified", instead(peer, certify(foreign, peer_pk, last)), "certificate"),
        shown("bad_foreign_root_own", "certified", instead(me, certify(foreign, clients[me].identity.pk, last)),
              "certificate"),
        shown("bad_self_signed", "certified", instead(peer, certify(clients[peer].identity, peer_pk, last)), "certificate"),
        shown("bad_expired", "certified", instead(peer, certify(root, peer_pk, last - 1)), "certificate_expired"),
        shown("bad_another_identity", "certified", instead(peer, own[me]), "certificate"),
        shown("bad_swapped", "certified", roster(swapped), "certificate"),
        shown("bad_zeros", "certified", instead(peer, bytes(72)), "certificate"),
        shown("bad_truncated", "certified", whole[:-1], "malformed", None),
        shown("bad_without_the_last", "certified", whole[:-72], "malformed", None),
        shown("bad_one_more_byte", "certified", whole + b"\0", "malformed", None),
        shown("bad_read_as_complete", "complete", whole, "malformed", None),
    ]

    first, second = arrivals[0], arrivals[1]

    def sent(name, payload, reason):
        return {"name": name, "in": payload.hex(), "refused": refused(reason)}

    def marked(certificate): return first.advertise + certificate

    messages = [
        sent("bad_none", first.advertise, "certificate_missing"),
        sent("bad_truncated", marked(first.certificate)[:-1], "wrong_length"),
        sent("bad_one_more_byte", marked(first.certificate) + b"\0", "wrong_length"),
        sent("bad_foreign_root", marked(certify(foreign, first.identity.pk, last)), "certificate"),
        sent("bad_expired", marked(certify(root, first.identity.pk, last - 1)), "certificate_expired"),
        sent("bad_another_identity", marked(second.certificate), "certificate"),
        sent("bad_self_signed", marked(certify(first.identity, first.identity.pk, last)), "certificate"),
        sent("bad_zeros", marked(bytes(72)), "certificate"),
    ]

    def carried(name, certificate, reason, check="C07", pinned=root.pk):
        return {"name": name, "certificate": certificate and certificate.hex(), "identity_root": pinned.hex(),
                "refused": refused(reason, check)}

    carriers = [
        carried("bad_none", None, "certificate_missing"),
        carried("bad_foreign_root", certify(foreign, first.identity.pk, last), "certificate"),
        carried("bad_expired", certify(root, first.identity.pk, last - 1), "certificate_expired"),
        carried("bad_another_identity", second.certificate, "certificate"),
        carried("bad_other_root_pinned", certify(foreign, first.identity.pk, last), "policy", "C05", foreign.pk),
    ]

    return {
        "config": config.hex(), "cfg": cfg.hex(), "config_signature": task.sign(b"FLSA1/task" + cfg).hex(), "now": NOW,
        "policy": {"task_pk": task.pk.hex(), "model_digest": draw("model").hex(),
                   "vectors": [{"name": "update", "length": 7}], "last_round": 0, "min_clients": 10,
                   "identity_root": root.pk.hex()},
        "clients": [{"index": clients.index(client), "id_seed": client.identity.seed.hex(),
                     "rng_seed": client.rng_seed.hex(), "certificate": client.certificate.hex(),
                     "advertise_keys": marked_of(client).hex()} for client in arrivals],
        "n": N, "root": tree_root.hex(), "sid": H(b"FLSA1/sid", cfg, u32(N), tree_root).hex(), "roster": whole.hex(),
        # Devices at the start of stage 0; the server with an empty stage 0; the device at this index in stage 1.
        "carriers": carriers, "messages": messages, "receiver": me, "rosters": rosters,
    }


def marked_of(client): return client.advertise + client.certificate


if __name__ == "__main__":
    self_test()
    seed = sys.argv[1] if len(sys.argv) > 1 else "1"
    here = pathlib.Path(__file__).resolve().parent.parent / "vectors"
    folder = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else here
    (folder / "14_certificates.json").write_text(json.dumps(vectors(seed), separators=(",", ":")) + "\n")
