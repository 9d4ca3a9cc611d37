package androidx.work

import android.content.Context

// In Kotlin, as the original: `onStopped` is final there, and cancels the coroutine.
abstract class CoroutineWorker(appContext: Context, params: WorkerParameters) : ListenableWorker(appContext, params) {
    abstract suspend fun doWork(): Result
}
