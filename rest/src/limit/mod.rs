//! How often somebody may call: a sliding window of one minute, counted in Redis, or in memory when there is none.
//!
//! | part | where |
//! |---|---|
//! | the rule and what it answers | [`window`] |
//! | counters of this process, bounded | [`memory`] |
//! | counters of all replicas | [`shared`] |
//! | whose address counts behind proxies | [`client`] |

mod client;
mod config;
mod memory;
mod shared;
mod window;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use client::{Cidr, client_ip};
pub use config::LimitConfig;
pub use memory::Memory;
use scale_clock::Timestamp;
use scale_records::domain::UserId;
pub use shared::Shared;
pub use window::{Decision, WINDOW};

use crate::redis::{Link, LinkError};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// All calls from one address; of IPv6, from one /64, which is what one subscriber has.
    Ip(IpAddr),
    /// All calls of one person.
    User(UserId),
    /// A person's imports.
    Import(UserId),
}

/// Counts and refuses. Clones count together.
#[derive(Clone, Debug)]
pub struct Limiter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: LimitConfig,
    memory: Memory,
    shared: Option<Shared>,
    warned: AtomicBool,
}

impl Limiter {
    /// Counts in Redis when there is a link, in memory when there is none or while it is down.
    pub fn new(config: &LimitConfig, redis: Option<Link>) -> Self {
        Self(Arc::new(Inner {
            config: config.clone(),
            memory: Memory::new(config.memory_keys),
            shared: redis.map(Shared::new),
            warned: AtomicBool::new(false),
        }))
    }

    /// Takes one call out of `bucket`, if there is one left. A call that is refused is not counted.
    ///
    /// `now` is the time of the counters in memory; Redis goes by its own clock, which all replicas share.
    pub async fn take(&self, bucket: Bucket, now: Timestamp) -> Decision {
        let inner = &*self.0;
        let limit = inner.config.limit(bucket);
        if limit == 0 {
            return Decision::UNLIMITED;
        }
        if let Some(shared) = &inner.shared {
            match shared.take(bucket, limit, None).await {
                Ok(decision) => return decision,
                Err(LinkError::Down) => {}
                // Not an outage that ends by itself: somebody has to know, once.
                Err(error @ LinkError::Refused(_)) => {
                    if !inner.warned.swap(true, Ordering::Relaxed) {
                        tracing::warn!(%error, "limits count in this process alone");
                    }
                }
            }
        }
        inner.memory.take(bucket, limit, now)
    }
}
