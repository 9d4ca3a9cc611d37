//! CPU time of this thread and of the whole process.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// CPU time that this thread has used.
pub fn thread() -> Duration {
    duration(clock_gettime(ClockId::ThreadCPUTime))
}

/// CPU time that all threads of this process have used.
pub fn process() -> Duration {
    duration(clock_gettime(ClockId::ProcessCPUTime))
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
