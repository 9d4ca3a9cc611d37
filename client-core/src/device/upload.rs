//! Selects the next piece of a masked input: continues after the bytes that the coordinator has, and detects an upload
//! without progress. No I/O.

use std::ops::Range;
use std::time::Duration;

use scale_proto::time::RetryWindow;

/// Size of one piece, in bytes.
const PIECE_BYTES: usize = 512 << 10;
/// Number of answers without progress after which an upload counts as failed.
const STALLS: u32 = 3;
/// When to ask again about an upload that is complete but not committed: the coordinator commits in batches.
const COMMIT_RETRY: RetryWindow =
    RetryWindow { after: Duration::from_millis(200), before: Duration::from_millis(1000) };

/// The position of an upload.
#[derive(Debug)]
pub(super) struct UploadCursor {
    total: usize,
    /// The piece to send next; empty to ask how many bytes the coordinator has.
    piece: Range<usize>,
    stalls: u32,
}

/// What to do after an answer of the coordinator.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Send [`UploadCursor::piece`].
    GoOn,
    /// All bytes have arrived but are not part of the sum yet: ask again later.
    Complete(RetryWindow),
    /// The coordinator asked for the same bytes too often: the connection counts as broken.
    Stalled,
}

impl UploadCursor {
    /// A cursor at the start of `total` bytes. `ask`: an earlier attempt may have sent some of them, so the first piece
    /// is empty.
    pub(super) fn new(total: usize, ask: bool) -> Self {
        Self { total, piece: 0..if ask { 0 } else { PIECE_BYTES.min(total) }, stalls: 0 }
    }

    /// The range of bytes to send next.
    pub(super) fn piece(&self) -> Range<usize> {
        self.piece.clone()
    }

    /// The coordinator has the first `received` bytes.
    pub(super) fn received(&mut self, received: u64) -> Received {
        let received = usize::try_from(received).unwrap_or(usize::MAX).min(self.total);
        if received == self.total && self.piece.start == self.total {
            return Received::Complete(COMMIT_RETRY);
        }
        // A request to repeat the piece just sent is accepted a few times only.
        self.stalls = if received < self.piece.end { self.stalls + 1 } else { 0 };
        if self.stalls > STALLS {
            return Received::Stalled;
        }
        // If nothing is left to send, the next piece is empty, which asks for the coordinator's position.
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
