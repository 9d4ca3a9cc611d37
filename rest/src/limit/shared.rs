//! Counters of all replicas, in Redis: one hash per key, one script, Redis's own clock.

use scale_clock::Timestamp;

use super::Bucket;
use super::window::{Counts, Decision, Key, WINDOW_MS};
use crate::redis::{Link, LinkError, Script};

/// The rule of [`super::window`]. One key, so that a cluster knows where to run it; integers below 2^53, so that Lua's
/// doubles are exact.
const SCRIPT: &str = r"
local length, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local now = tonumber(ARGV[3])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local window = math.floor(now / length)
local elapsed = now - window * length
local stored = redis.call('HMGET', KEYS[1], 'window', 'current', 'previous')
local last = tonumber(stored[1]) or window
local current, previous = tonumber(stored[2]) or 0, tonumber(stored[3]) or 0
if window == last - 1 then
  window, elapsed = last, 0
elseif window ~= last then
  if window == last + 1 then previous = current else previous = 0 end
  current = 0
end
local allowed = 0
if math.ceil(previous * (length - elapsed) / length) + current < limit then
  allowed = 1
  current = current + 1
  redis.call('HSET', KEYS[1], 'window', window, 'current', current, 'previous', previous)
  redis.call('PEXPIRE', KEYS[1], 2 * length)
end
return {allowed, previous, current, elapsed}
";

/// Counts in Redis.
#[derive(Clone, Debug)]
pub struct Shared {
    link: Link,
    script: Script,
}

impl Shared {
    /// Counts behind `link`.
    pub fn new(link: Link) -> Self {
        Self { link, script: Script::new(SCRIPT) }
    }

    /// Takes one call out of `bucket`, which has `limit` a window; at `now`, or by Redis's clock. Replicas go by that
    /// one clock, whatever their own say; a test goes by its own.
    ///
    /// # Errors
    /// [`LinkError`]: nothing was counted, or nobody knows.
    pub async fn take(&self, bucket: Bucket, limit: u32, now: Option<Timestamp>) -> Result<Decision, LinkError> {
        let key = format!("rl:{{{}}}:{}", Key::from(bucket), WINDOW_MS / 1000);
        let mut args = vec![WINDOW_MS, u64::from(limit)];
        args.extend(now.map(Timestamp::as_millis));
        let (allowed, previous, current, elapsed) = self.link.script(&self.script, &key, &args).await?;
        Ok(Counts { previous, current, elapsed }.decision(allowed, limit))
    }
}
