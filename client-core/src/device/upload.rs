//! Which piece of a masked input goes next: resumes where the coordinator stands, and notices an upload that stands still.
//! No I/O.

use std::ops::Range;
use std::time::Duration;

use scale_proto::time::RetryWindow;

/// Bytes of one piece.
const PIECE_BYTES: usize = 512 << 10;
/// Answers without progress before an upload counts as broken.
const STALLS: u32 = 3;
/// When to ask again for an upload that is complete and not committed: the coordinator commits in batches.
const COMMIT_RETRY: RetryWindow =
    RetryWindow { after: Duration::from_millis(200), before: Duration::from_millis(1000) };

/// How far the upload of so many bytes has come.
#[derive(Debug)]
pub(super) struct UploadCursor {
    total: usize,
    /// The piece that goes next; empty to ask where the coordinator stands.
    piece: Range<usize>,
    stalls: u32,
}

/// What the coordinator's count means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Send [`UploadCursor::piece`].
    GoOn,
    /// All is there and not yet part of the sum: ask again later.
    Complete(RetryWindow),
    /// Told to send the same bytes too often: the connection counts as broken.
    Stalled,
}

impl UploadCursor {
    /// At the start of `total` bytes. `ask`: an earlier attempt may have sent some, so the first piece is empty.
    pub(super) fn new(total: usize, ask: bool) -> Self {
        Self { total, piece: 0..if ask { 0 } else { PIECE_BYTES.min(total) }, stalls: 0 }
    }

    /// The bytes to send next.
    pub(super) fn piece(&self) -> Range<usize> {
        self.piece.clone()
    }

    /// The coordinator holds `received` bytes from the start.
    pub(super) fn received(&mut self, received: u64) -> Received {
        let received = usize::try_from(received).unwrap_or(usize::MAX).min(self.total);
        if received == self.total && self.piece.start == self.total {
            return Received::Complete(COMMIT_RETRY);
        }
        // Being told to send again what was just sent is fine a few times, not for ever.
        self.stalls = if received < self.piece.end { self.stalls + 1 } else { 0 };
        if self.stalls > STALLS {
            return Received::Stalled;
        }
        // With nothing left to send the next piece is empty, which asks.
        self.piece = received..(received + PIECE_BYTES).min(self.total);
        Received::GoOn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: usize = 2 * PIECE_BYTES + 7;

    #[test]
    fn pieces_follow_each_other_and_the_last_one_asks() {
        let mut cursor = UploadCursor::new(TOTAL, false);
        for end in [PIECE_BYTES, 2 * PIECE_BYTES, TOTAL] {
            assert_eq!(cursor.piece().end, end);
            assert_eq!(cursor.received(end as u64), Received::GoOn);
        }
        assert_eq!(cursor.piece(), TOTAL..TOTAL);
        assert_eq!(cursor.received(TOTAL as u64), Received::Complete(COMMIT_RETRY));
    }

    #[test]
    fn an_interrupted_upload_goes_on_where_the_coordinator_stands() {
        let mut cursor = UploadCursor::new(TOTAL, true);
        assert_eq!(cursor.piece(), 0..0, "an empty piece asks");
        assert_eq!(cursor.received(PIECE_BYTES as u64), Received::GoOn);
        assert_eq!(cursor.piece(), PIECE_BYTES..2 * PIECE_BYTES);
        assert_eq!(cursor.received(u64::MAX), Received::GoOn, "more than there is counts as all of it");
        assert_eq!(cursor.piece(), TOTAL..TOTAL);
    }

    #[test]
    fn an_upload_that_stands_still_is_broken() {
        let mut cursor = UploadCursor::new(TOTAL, false);
        for _ in 0..STALLS {
            assert_eq!(cursor.received(0), Received::GoOn);
        }
        assert_eq!(cursor.received(0), Received::Stalled);
    }
}
