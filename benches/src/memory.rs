//! Memory of this process, as Linux counts it.

/// Bytes in memory now; `None` where `/proc` does not tell.
pub fn resident() -> Option<u64> {
    field("VmRSS:")
}

/// Most bytes that were in memory at any time.
pub fn peak() -> Option<u64> {
    field("VmHWM:")
}

fn field(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kib)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_used_is_counted() {
        let before = resident().unwrap();
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(resident().unwrap() >= before + (60 << 20));
        drop(block);
        assert!(peak().unwrap() >= before + (60 << 20));
    }
}
