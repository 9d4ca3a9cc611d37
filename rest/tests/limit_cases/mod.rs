//! What the limiter answers, moment by moment; every place that counts gives the same answers.

use std::time::Duration;

use scale_clock::Timestamp;
use scale_records::domain::UserId;
use scale_rest::limit::{Bucket, Decision};

/// A window's start, of both kinds of counters.
pub(crate) const START: u64 = 1_800_000_000_000;

/// One call after another on one fresh bucket.
struct Story {
    name: &'static str,
    limit: u32,
    /// When (ms after a window's start), how many calls, how many of them are allowed; then `remaining` and `reset` (ms)
    /// of the last one.
    steps: &'static [(u64, u32, u32, u32, u64)],
}

const STORIES: &[Story] = &[
    Story {
        name: "a window's worth, then no more until it slides",
        limit: 10,
        steps: &[
            (0, 1, 1, 9, 60_000),
            (0, 9, 9, 0, 60_000),
            (1, 3, 0, 0, 65_999),
            (59_999, 1, 0, 0, 6_001),
            // Of ten, a tenth of a window later nine still count.
            (65_999, 1, 0, 0, 1),
            (66_000, 2, 1, 0, 6_000),
            (71_999, 1, 0, 0, 1),
            (72_000, 1, 1, 0, 48_000),
            (90_000, 5, 3, 0, 6_000),
        ],
    },
    Story {
        name: "one call a window",
        limit: 1,
        steps: &[
            (30_000, 1, 1, 0, 30_000),
            (30_000, 1, 0, 0, 90_000),
            (119_999, 1, 0, 0, 1),
            (120_000, 1, 1, 0, 60_000),
        ],
    },
    Story {
        name: "what is refused is not counted",
        limit: 2,
        steps: &[(0, 100, 2, 0, 90_000), (90_000, 1, 1, 0, 30_000), (120_000, 1, 1, 0, 60_000)],
    },
    Story {
        name: "two windows later all is forgotten",
        limit: 4,
        steps: &[(59_999, 4, 4, 0, 1), (120_000, 4, 4, 0, 60_000), (360_000, 4, 4, 0, 60_000)],
    },
    Story {
        name: "a burst across a border counts as one",
        limit: 100,
        steps: &[(59_900, 100, 100, 0, 100), (60_100, 100, 0, 0, 500), (60_600, 100, 1, 0, 600)],
    },
    Story {
        name: "a clock that goes back stands still",
        limit: 3,
        steps: &[(60_000, 2, 2, 1, 60_000), (59_000, 1, 1, 0, 60_000), (0, 1, 0, 0, 80_000), (60_001, 1, 0, 0, 79_999)],
    },
    Story {
        name: "one that goes back further starts over",
        limit: 2,
        steps: &[
            (300_000, 3, 2, 0, 90_000),
            (240_000, 1, 0, 0, 90_000),
            (239_999, 2, 2, 0, 1),
            (239_999, 1, 0, 0, 30_001),
        ],
    },
    Story { name: "the largest limit", limit: u32::MAX, steps: &[(5, 3, 3, u32::MAX - 3, 59_995)] },
];

/// Tells every story to `take`, which gets a bucket, its limit and the time.
pub(crate) async fn check(mut take: impl AsyncFnMut(Bucket, u32, Timestamp) -> Decision) {
    for (number, story) in (0..).zip(STORIES) {
        // Each begins after the one before: what counts in memory has one clock.
        let start = START + number * 10 * 60_000;
        let bucket = Bucket::User(UserId::new());
        for &(ms, calls, allowed, remaining, reset) in story.steps {
            let now = Timestamp::from_millis(start + ms);
            let mut decisions = Vec::new();
            for _ in 0..calls {
                decisions.push(take(bucket, story.limit, now).await);
            }
            let let_in = decisions.iter().take_while(|decision| decision.allowed).count();
            assert!(decisions[let_in..].iter().all(|decision| !decision.allowed), "{} at {ms}", story.name);
            let last = *decisions.last().unwrap();
            let told = (let_in, last.limit, last.remaining, last.reset);
            let expected = (allowed as usize, story.limit, remaining, Duration::from_millis(reset));
            assert_eq!(told, expected, "{} at {ms}", story.name);
        }
    }
}
