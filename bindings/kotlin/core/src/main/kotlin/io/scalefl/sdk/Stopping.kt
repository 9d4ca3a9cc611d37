package io.scalefl.sdk

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

/** What becomes of a round if the coroutine that takes part is cancelled. */
enum class OnCancellation {
    /** The device leaves the round and tells the coordinator, so that the others do not wait for it. */
    LEAVE,

    /** The round is stored; the next call continues it, if it comes in time. */
    PAUSE,
}

/**
 * Makes a native call that obeys a [Stop], and hands the coroutine's cancellation on to it.
 *
 * Cancelling the native call itself would drop it like a killed process: the device would not leave its round, and a file
 * might be half written. So the call is told to stop, and awaited (it ends within 200 ms).
 */
internal suspend fun <T> stoppable(
    onCancellation: OnCancellation = OnCancellation.LEAVE,
    call: suspend (Stop) -> T,
): T {
    currentCoroutineContext().ensureActive()
    return Stop().use { stop ->
        coroutineScope {
            // Unconfined: it runs in the thread that cancels, even while the caller's own dispatcher is busy.
            val watch = launch(Dispatchers.Unconfined) {
                try {
                    awaitCancellation()
                } finally {
                    // Also at the call's end, when it stops nothing any more.
                    if (onCancellation == OnCancellation.PAUSE) stop.pause() else stop.cancel()
                }
            }
            try {
                toItsEnd { call(stop) }
            } finally {
                watch.cancel()
            }
        }
    }
}

/**
 * Makes a native call that takes milliseconds, or that was told to stop, and waits for its end even if the coroutine is
 * cancelled: half of it is never done.
 */
internal suspend fun <T> toItsEnd(call: suspend () -> T): T {
    val result = withContext(NonCancellable) { runCatching { faultsTold { call() } } }
    // A cancelled coroutine ends as such, whatever the call has come to.
    currentCoroutineContext().ensureActive()
    return result.getOrThrow()
}
