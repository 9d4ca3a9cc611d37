//! CPU time of this thread, of the whole process, and of another one.

use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// CPU time that this thread has used.
pub fn thread() -> Duration {
    duration(clock_gettime(ClockId::ThreadCPUTime))
}

/// CPU time that all threads of this process have used.
pub fn process() -> Duration {
    duration(clock_gettime(ClockId::ProcessCPUTime))
}

/// CPU time that all threads of the process `pid` have used, to the system's tick (mostly 10 ms); `None` where `/proc` does
/// not tell.
pub fn process_of(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name comes second, in brackets, and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let (user, system) = (ticks()?, ticks()?);
    Some(Duration::from_secs_f64((user + system) as f64 / clock_ticks_per_second() as f64))
}

/// Runs `work` and adds the CPU time of all threads to `sum`.
pub fn timed<T>(sum: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = process();
    let out = work();
    *sum += process() - start;
    out
}

fn duration(time: Timespec) -> Duration {
    // CPU clocks start at zero and have 10^9 nanoseconds a second.
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_looks_the_same_from_outside() {
        let own = process();
        let outside = process_of(std::process::id()).unwrap();
        assert!(outside.abs_diff(own) < Duration::from_millis(500), "{outside:?}, {own:?}");
        assert_eq!(process_of(u32::MAX), None);
    }
}
