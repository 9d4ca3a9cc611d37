//! Section `[rest.limit]`.

use serde::{Deserialize, Serialize};

use super::{Bucket, Cidr};

/// How often somebody may call. `0`: as often as they like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitConfig {
    /// Calls a minute from one address (IPv4) or one /64 (IPv6), whoever makes them.
    pub ip_per_minute: u32,
    /// Calls a minute of one person.
    pub user_per_minute: u32,
    /// Imports a minute of one person.
    pub import_per_minute: u32,
    /// Proxies whose `x-forwarded-for` is believed, such as `["10.0.0.0/8", "::1"]`. Empty: nobody's.
    pub trusted_proxies: Vec<Cidr>,
    /// Most counters in memory, some 70 bytes each. Who calls minute after minute has two.
    pub memory_keys: usize,
}

impl Default for LimitConfig {
    fn default() -> Self {
        Self {
            ip_per_minute: 600,
            user_per_minute: 300,
            import_per_minute: 10,
            trusted_proxies: Vec::new(),
            memory_keys: 100_000,
        }
    }
}

impl LimitConfig {
    /// Calls a minute of one bucket; 0: unlimited.
    pub const fn limit(&self, bucket: Bucket) -> u32 {
        match bucket {
            Bucket::Ip(_) => self.ip_per_minute,
            Bucket::User(_) => self.user_per_minute,
            Bucket::Import(_) => self.import_per_minute,
        }
    }
}
