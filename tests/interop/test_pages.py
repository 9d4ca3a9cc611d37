"""The pages of docs/protocol/: their worked examples are what the reference computes, and what cites a page cites one."""
import pathlib
import re
import unittest

import model
from reference import secagg_ref as reference

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "protocol"
CRATES = ["benches", "client-core", "coordinator", "examples", "fuzz", "privacy", "proto", "records", "rest", "secagg", "tests"]
CONFIG = reference.RoundConfig(
    "t", 1, b"\xaa" * 32, b"\xbb" * 32, b"\xcc" * 32, [("w", 7)], 12, 1.0, 11, 0, bytes(32), 0, 0, 0, 0, "p", 0, 0,
    10, 13, 10, [1, 2, 3, 4, 5], b"\xdd" * 32)


class Pages(unittest.TestCase):
    def says(self, page, *values):
        text = " ".join((PAGES / page).read_text().split())
        for value in values:
            self.assertIn(value, text, f"{page} does not print it")

    def test_round_config(self):
        self.assertEqual(reference.RoundConfig.decode(CONFIG.encode()), CONFIG)
        self.says("round-config.md", f"{len(CONFIG.encode())} bytes", f"`{CONFIG.cfg.hex()}`")

    def test_tree_and_session_id(self):
        leaves = [bytes([leaf]) * 32 for leaf in range(5)]
        nodes, pairs = reference.merkle_levels(leaves)[1:3]
        root = reference.merkle_root(leaves)
        sid = reference.session_id(CONFIG.cfg, 5, root)
        self.assertEqual(reference.multiproof(leaves, [1, 4]), [leaves[0], nodes[1]])
        self.says("session.md", *(f"`{value.hex()}`" for value in (*nodes[:2], pairs[0], root, sid)))
        gseed = reference.graph_seed(sid)
        self.says("graph.md", f"`{gseed.hex()}`", " ".join(map(str, reference.permutation(10, gseed))))

    def test_bitmap_and_packing(self):
        packed = [reference.pack([1, 2, 3], 9), reference.pack([0xfffff001, 0xabc], 12)]
        self.says("session.md", *(f"`{value.hex()}`" for value in (reference.bitmap(13, {0, 2, 3, 12}), *packed)))

    def test_neighbors_and_threshold(self):
        for n in (10, 12, 13, 50, 128, 200, 500, 1000):
            k, t, _ = reference.params(n, reference.PROFILE_S, 0)
            self.says("graph.md", f"| {n:,} | {k} | {t} |")

    def test_rounding_bound_and_fingerprint(self):
        self.says("update.md", f"{reference.norm_bound_squared(8, 4)} for S = 8, d = 4")
        self.says("model.md", f"`{model.fingerprint(model.mlp(16, [9], ['left', 'right', 'none'])).hex()}`")

    def test_limits_are_those_of_both_sides(self):
        """The constants of the coordinator and of devices, read where they stand."""
        limit = {}
        for name, value in re.findall(r"pub const (\w+): \w+ = ([^;]+);", (ROOT / "proto/src/limits.rs").read_text()):
            limit[name] = eval(value, {}, limit)
        mib = 1 << 20
        self.assertEqual(limit["MODEL_BYTES"], 4 * limit["MODEL_ENTRIES"] + mib)
        self.assertEqual(limit["UPLOAD_BYTES"], 8 * limit["MODEL_ENTRIES"] + mib)
        words = [limit[name] for name in ("CODE_BYTES", "SENTENCE_BYTES", "URL_BYTES", "TOKEN_BYTES")]
        self.says(
            "calls.md",
            f"| one gRPC message | {limit['MESSAGE_BYTES'] // mib} MiB ({limit['MESSAGE_BYTES']:,} bytes) |",
            f"| `data` of one `UploadRequest` | {limit['UPLOAD_PIECE_BYTES'] // mib} MiB;",
            f"| a masked input | 8 bytes for each of {limit['MODEL_ENTRIES']:,} entries and 1 MiB |",
            f"| parameters of a model, bytes of its file | {limit['MODEL_ENTRIES']:,}; four bytes for each and 1 MiB |",
            f"| classes; hidden layers of an `mlp` | {limit['CLASSES']:,}; {limit['HIDDEN_LAYERS']} |",
            f"| `tasks` and `model_families` of a check-in | {limit['CHECK_IN_NAMES']} each |",
            f"| free text (a label, a reason) | {limit['TEXT_BYTES']} bytes |",
            f"| a code; a sentence; a URL; a token | {', '.join(f'{most:,}' for most in words)} bytes |",
            f"| longest plan | 30 minutes (`time_limit_ms` 1 to {limit['TRAINING_MS']:,}) |")

    def test_citations_name_documents_of_this_repository(self):
        cited, elsewhere = 0, re.compile(r"\bannex\b|\bsecagg\.md\b|\bspec (section )?\d")
        for crate in CRATES:
            for file in [*(ROOT / crate).rglob("*.rs"), *(ROOT / crate).rglob("*.proto")]:
                if {"node_modules", "target"} & set(file.parts[len(ROOT.parts):]):
                    continue
                text = file.read_text()
                self.assertIsNone(elsewhere.search(text), f"{file} cites a document that is not here")
                for page in re.findall(r"\bdocs/[\w/.-]+\.md\b", text):
                    self.assertTrue((ROOT / page).is_file(), f"{file} cites {page}")
                    cited += 1
        self.assertGreater(cited, 50)

    def test_links_between_the_pages(self):
        for page in [ROOT / "docs" / "protocol.md", *PAGES.glob("*.md")]:
            for target in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text()):
                path = (page.parent / target[0]).resolve() if target[0] else page
                self.assertTrue(path.exists(), f"{page.name} links to {target[0]}")
                if target[1]:
                    headings = [re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
                                for line in path.read_text().splitlines() if line.startswith("#")]
                    self.assertIn(target[1], headings, f"{page.name} links into {path.name}")
