//! How many bytes a page loads, and how many it may load at most.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, ensure};

use super::Variant;
use super::bundle::LOADED;
use crate::command;
use crate::stamp::Stamp;

const SCRIPT: &str = include_str!("sizes.mjs");

/// Everything together. 1 KB is 1,000 bytes.
const ALL_BROTLI: u64 = 750_000;
const ALL_GZIP: u64 = 1_100_000;
/// What a page loads before anything is asked of the package.
const PAGE_BROTLI: u64 = 10_000;
const PAGE: &str = "index.js";

/// Bytes of one file.
#[derive(Clone, Copy, Default)]
struct Size {
    raw: u64,
    gzip: u64,
    brotli: u64,
}

/// Prints the table of the published files.
///
/// # Errors
/// If a file is missing or the package is over its budget.
pub(super) fn check() -> Result<()> {
    let (dist, folder) = (Variant::Published.dist(), Variant::Published.glue());
    let files = LOADED.map(|name| dist.join(name));
    // Brotli takes ten seconds for what has not changed.
    let stamp = Stamp::of(folder.join("sizes.stamp"), &[SCRIPT], &files)?;
    let measured = folder.join("sizes.json");
    if !stamp.is_fresh(std::slice::from_ref(&measured)) {
        let mut node = command::command("node");
        node.args(["--input-type=module", "--eval", SCRIPT, "--"]).args(&files);
        let sizes = command::output(&mut node)?;
        fs::write(&measured, sizes).with_context(|| format!("cannot write {}", measured.display()))?;
        stamp.write()?;
    }
    let sizes = fs::read_to_string(&measured).with_context(|| format!("cannot read {}", measured.display()))?;
    let sizes: Vec<[u64; 3]> = serde_json::from_str(&sizes).context("unexpected sizes")?;
    let sizes = sizes.into_iter().map(|[raw, gzip, brotli]| Size { raw, gzip, brotli });
    let sizes: Vec<(&str, Size)> = LOADED.into_iter().zip(sizes).collect();
    print!("{}", table(&sizes));
    within_budget(&sizes)
}

fn total(sizes: &[(&str, Size)]) -> Size {
    sizes.iter().fold(Size::default(), |sum, (_, size)| Size {
        raw: sum.raw + size.raw,
        gzip: sum.gzip + size.gzip,
        brotli: sum.brotli + size.brotli,
    })
}

fn table(sizes: &[(&str, Size)]) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let mut line = |name: &str, columns: [String; 3]| {
        let [raw, gzip, brotli] = columns;
        let _ = writeln!(text, "  {name:<14} {raw:>10} {gzip:>10} {brotli:>10}");
    };
    line("bytes", ["raw", "gzip -9", "brotli 11"].map(str::to_owned));
    for (name, Size { raw, gzip, brotli }) in sizes.iter().chain([&("total", total(sizes))]) {
        line(name, [raw, gzip, brotli].map(|bytes| grouped(*bytes)));
    }
    line("at most", ["".to_owned(), grouped(ALL_GZIP), grouped(ALL_BROTLI)]);
    text
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn within_budget(sizes: &[(&str, Size)]) -> Result<()> {
    let all = total(sizes);
    let page = sizes.iter().find(|(name, _)| *name == PAGE).map_or(0, |(_, size)| size.brotli);
    let budgets = [
        ("everything, brotli", all.brotli, ALL_BROTLI),
        ("everything, gzip", all.gzip, ALL_GZIP),
        ("index.js, brotli", page, PAGE_BROTLI),
    ];
    for (what, is, most) in budgets {
        ensure!(is <= most, "the package is too large: {what}: {} bytes, at most {}", grouped(is), grouped(most));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(wasm: [u64; 2], page: u64) -> Vec<(&'static str, Size)> {
        let of = |gzip, brotli| Size { raw: 2 * gzip, gzip, brotli };
        vec![("scale_fl.wasm", of(wasm[0], wasm[1])), (PAGE, of(page + 1, page))]
    }

    #[test]
    fn every_budget_is_held() {
        within_budget(&sizes([1_000_000, 740_000], 10_000)).unwrap();
        for (wasm, page, what) in [
            ([1_000_000, 740_001], 10_000, "everything, brotli: 750,001 bytes, at most 750,000"),
            ([1_090_000, 700_000], 10_000, "everything, gzip: 1,100,001"),
            ([1_000_000, 600_000], 10_001, "index.js, brotli: 10,001"),
        ] {
            let error = within_budget(&sizes(wasm, page)).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn the_table_sums_and_groups() {
        let text = table(&sizes([1_000_000, 740_000], 999));
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["scale_fl.wasm", "2,000,000", "1,000,000", "740,000"]);
        assert_eq!(lines[2], ["index.js", "2,000", "1,000", "999"]);
        assert_eq!(lines[3], ["total", "2,002,000", "1,001,000", "740,999"]);
        assert_eq!(lines[4][2..], ["1,100,000", "750,000"]);
    }
}
