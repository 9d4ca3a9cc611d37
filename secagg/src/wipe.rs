//! What is done about copies of secrets, beyond wiping each one where it lies.
//!
//! A value that moves leaves its old bytes behind. So a state keeps its secrets on the heap ([`Held`]): whoever moves the
//! state moves pointers. And every step of a device runs under [`scrubbed`], which overwrites the stack that the step
//! used: dalek and ring pass scalars, keys and Diffie-Hellman outputs by value, and ring wipes none of its copies.
//! Vectors of secrets are reserved in full, because a vector that grows leaves its old allocation as it was.
//!
//! Not covered: registers, swap, and what the caller does with a snapshot or with its own copy of the input.

use std::hint::black_box;
use std::ops::Deref;

use zeroize::ZeroizeOnDrop;

/// Bytes of stack that are overwritten after a step: several times what the deepest step needs.
const SCRUBBED: usize = 64 * 1024;

/// Runs `step` in a frame of its own and overwrites the stack below it afterwards. What `step` returns must not hold a
/// secret inline.
#[inline(never)]
pub(crate) fn scrubbed<T>(step: impl FnOnce() -> T) -> T {
    let result = in_own_frame(step);
    scrub();
    result
}

#[inline(never)]
fn in_own_frame<T>(step: impl FnOnce() -> T) -> T {
    step()
}

#[inline(never)]
fn scrub() {
    let mut stack = [0_u8; SCRUBBED];
    black_box(&mut stack);
}

/// A secret that a state keeps. It lies on the heap, where its own drop wipes it.
pub(crate) struct Held<T: ZeroizeOnDrop> {
    secret: Box<T>,
    #[cfg(test)]
    _live: live::Token,
}

impl<T: ZeroizeOnDrop> Held<T> {
    /// Moves the secret to the heap. The caller runs under [`scrubbed`].
    pub(crate) fn new(secret: T) -> Self {
        Self {
            secret: Box::new(secret),
            #[cfg(test)]
            _live: live::Token::new(),
        }
    }
}

impl<T: ZeroizeOnDrop> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.secret
    }
}

/// Counts the secrets that states of this thread keep.
#[cfg(test)]
pub(crate) mod live {
    use std::cell::Cell;

    thread_local! {
        static COUNT: Cell<usize> = const { Cell::new(0) };
    }

    pub(crate) fn count() -> usize {
        COUNT.get()
    }

    pub(super) struct Token(());

    impl Token {
        pub(super) fn new() -> Self {
            COUNT.set(COUNT.get() + 1);
            Self(())
        }
    }

    impl Drop for Token {
        fn drop(&mut self) {
            COUNT.set(COUNT.get() - 1);
        }
    }
}
