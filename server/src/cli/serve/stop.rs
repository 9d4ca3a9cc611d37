//! The end of `serve`: who asks for it, and what happens in which order.

use std::time::Duration;

use scale_coordinator::Coordinator;
use scale_coordinator::grpc::Health;

/// From the wish to stop until no call waits any more. Load balancers hear of it first: for the time of `notice` probes say
/// that calls should go elsewhere, while those that come all the same are served.
pub(super) async fn in_order(
    asked: impl Future<Output = ()>,
    health: Health,
    notice: Duration,
    coordinator: Coordinator,
) {
    asked.await;
    tracing::info!(notice_s = notice.as_secs(), "shutting down");
    health.stop().await;
    tokio::time::sleep(notice).await;
    // Waiting calls are answered now, so that the connections can drain.
    coordinator.shutdown().await;
}

/// Ends with the program's input: whoever holds the other end of the pipe is gone then, or wants this program to go.
/// Without `wanted` it never ends, and nothing is read.
pub(super) fn input_ended(wanted: bool) -> impl Future<Output = ()> {
    let (gone, ended) = tokio::sync::oneshot::channel();
    if wanted {
        // A thread of its own: the runtime would wait at its end for a read that nothing can interrupt.
        std::thread::spawn(move || {
            // What is written there means nothing; an input that cannot be read has ended too.
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            let _ = gone.send(());
        });
    }
    async move {
        if !wanted || ended.await.is_err() {
            std::future::pending().await
        }
    }
}

/// Ends with SIGINT or SIGTERM that come after this call.
#[cfg(unix)]
pub(super) fn asked_to_stop() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    // Without a handler the process just ends at the signal.
    let handlers = [SignalKind::interrupt(), SignalKind::terminate()].map(|kind| signal(kind).ok());
    async move {
        let [interrupted, terminated] = handlers.map(|handler| async {
            match handler {
                Some(mut handler) => drop(handler.recv().await),
                None => std::future::pending().await,
            }
        });
        tokio::select! {
            () = interrupted => {}
            () = terminated => {}
        }
    }
}

/// Ends with Ctrl-C.
#[cfg(not(unix))]
pub(super) async fn asked_to_stop() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
