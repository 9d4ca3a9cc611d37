//! Replacements for tokio in this crate's tests on platforms with one thread: Node.js and browsers.
//!
//! A test module that also runs there imports `test` under `#[cfg(target_arch = "wasm32")]`, or imports this module
//! under the name `tokio` if it uses tokio. Every module has to do this itself, because a glob import does not change
//! what `#[test]` means.

use std::future::Future;

pub(crate) use wasm_bindgen_test::wasm_bindgen_test as test;

/// Runs the future concurrently with the caller.
pub(crate) fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> task::JoinHandle<T> {
    let (done, handle) = task::pair();
    js_sys::futures::spawn_local(async move { done.set(future.await) });
    handle
}

pub(crate) mod task {
    use std::cell::RefCell;
    use std::convert::Infallible;
    use std::future::Future;
    use std::pin::Pin;
    use std::rc::Rc;
    use std::task::{Context, Poll, Waker};

    /// There is no error case: a panic ends the whole test.
    pub(crate) struct JoinHandle<T>(Rc<RefCell<Shared<T>>>);

    pub(super) struct Done<T>(Rc<RefCell<Shared<T>>>);

    struct Shared<T> {
        result: Option<T>,
        waiting: Option<Waker>,
    }

    pub(super) fn pair<T>() -> (Done<T>, JoinHandle<T>) {
        let shared = Rc::new(RefCell::new(Shared { result: None, waiting: None }));
        (Done(shared.clone()), JoinHandle(shared))
    }

    impl<T> Done<T> {
        pub(super) fn set(self, result: T) {
            let mut shared = self.0.borrow_mut();
            shared.result = Some(result);
            if let Some(waiting) = shared.waiting.take() {
                waiting.wake();
            }
        }
    }

    impl<T> Future for JoinHandle<T> {
        type Output = Result<T, Infallible>;

        fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
            let mut shared = self.0.borrow_mut();
            match shared.result.take() {
                Some(result) => Poll::Ready(Ok(result)),
                None => {
                    shared.waiting = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        }
    }
}
