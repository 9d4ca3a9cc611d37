//! Memory of this process and of others, as Linux counts it.

/// Bytes in memory now; `None` where `/proc` does not tell.
pub fn resident() -> Option<u64> {
    field("self", "VmRSS:")
}

/// Most bytes that were in memory at any time.
pub fn peak() -> Option<u64> {
    field("self", "VmHWM:")
}

/// [`resident`] of the process `pid`.
pub fn resident_of(pid: u32) -> Option<u64> {
    field(&pid.to_string(), "VmRSS:")
}

/// [`peak`] of the process `pid`, since [`forget_peak_of`].
pub fn peak_of(pid: u32) -> Option<u64> {
    field(&pid.to_string(), "VmHWM:")
}

/// Lets the peak of the process `pid` begin again from what it has now.
///
/// # Errors
/// The system does not allow it: the process is somebody else's.
pub fn forget_peak_of(pid: u32) -> std::io::Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

fn field(process: &str, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
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
