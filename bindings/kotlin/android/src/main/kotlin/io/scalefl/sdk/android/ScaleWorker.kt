package io.scalefl.sdk.android

import android.content.Context
import androidx.work.Constraints
import androidx.work.CoroutineWorker
import androidx.work.ExistingWorkPolicy
import androidx.work.NetworkType
import androidx.work.OneTimeWorkRequest
import androidx.work.WorkManager
import androidx.work.WorkerParameters
import io.scalefl.sdk.NextStart
import io.scalefl.sdk.OnCancellation
import io.scalefl.sdk.Outcome
import io.scalefl.sdk.ScaleClient
import io.scalefl.sdk.ScaleException
import io.scalefl.sdk.nextStart
import java.util.concurrent.TimeUnit
import kotlin.time.Duration
import kotlin.time.Duration.Companion.minutes
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.withContext

/**
 * Takes part in rounds in the background. An app derives its own worker, and calls [start] once, for example when the person
 * agrees; after every participation the worker plans the next one itself. It ends, until [start] is called again, when there
 * is no enrollment token, when the privacy ledger is locked, and when the app itself must be changed.
 *
 * ```kotlin
 * class RoundWorker(context: Context, parameters: WorkerParameters) : ScaleWorker(context, parameters) {
 *     override fun createClient() = ScaleClient(configuration(), KeystoreVault(applicationContext), AndroidConditions(applicationContext))
 *     override suspend fun enrollmentToken() = api.enrollmentToken()
 * }
 *
 * ScaleWorker.start(context, RoundWorker::class.java)
 * ```
 *
 * It runs on an unmetered network while the battery is not low. It does not wait for a device that is charging *and* idle: some
 * phones never are both.
 */
abstract class ScaleWorker(context: Context, parameters: WorkerParameters) : CoroutineWorker(context, parameters) {
    /** Makes the client of this app. The worker closes it. */
    protected abstract fun createClient(): ScaleClient

    /**
     * Fetches a fresh enrollment token from the app's server; null if there is none now, for example without a login: then the
     * app calls [start] again once it has enrolled. If it throws, the worker comes back in a quarter of an hour.
     */
    protected open suspend fun enrollmentToken(): String? = null

    /** Hears how each participation ended. */
    protected open suspend fun onOutcome(outcome: Outcome) {}

    /** Hears why a participation could not be tried. */
    protected open suspend fun onFailure(failure: ScaleException) {}

    /** What WorkManager calls: one participation, and the plan for the next. */
    final override suspend fun doWork(): Result {
        val next = try {
            participateOrTell()
        } catch (failed: Exception) {
            // The app's own part has failed, for example offline: that must not end the rounds for ever. A cancellation goes on
            // if it is this worker's; a timeout within the app's part is one, too, and is not.
            currentCoroutineContext().ensureActive()
            NextStart.After(AFTER_FAILURE)
        }
        return when (next) {
            is NextStart.After -> {
                // `stop` may have been called meanwhile: planning would undo it.
                currentCoroutineContext().ensureActive()
                plan(applicationContext, javaClass, next.delay)
                Result.success()
            }
            // The app has said that it has no token: it starts the worker again when it has enrolled.
            NextStart.AfterEnrollment -> Result.success()
            NextStart.Never -> Result.failure()
        }
    }

    private suspend fun participateOrTell(): NextStart = try {
        participate()
    } catch (failure: ScaleException) {
        onFailure(failure)
        failure.nextStart()
    }

    private suspend fun participate(): NextStart {
        val client = createClient()
        try {
            // Android takes the time away: the round is stored, and WorkManager runs this worker again.
            var outcome = client.participate(BUDGET, onCancellation = OnCancellation.PAUSE)
            if (outcome is Outcome.EnrollmentNeeded) {
                enrollmentToken()?.let { token ->
                    client.enroll(token)
                    outcome = client.participate(BUDGET, onCancellation = OnCancellation.PAUSE)
                }
            }
            onOutcome(outcome)
            return outcome.nextStart()
        } finally {
            // No file of the app may be locked once WorkManager believes that the work is over.
            withContext(NonCancellable) { client.shutdown() }
        }
    }

    /** Starts and ends the work in the background. */
    companion object {
        /** WorkManager stops ordinary work after ten minutes: this leaves time for the end. */
        private val BUDGET = 8.minutes
        private val AFTER_FAILURE = 15.minutes
        private const val NAME = "io.scalefl.sdk.rounds"

        /** Takes part in rounds from now on, also after a restart of the phone. Calling it again changes nothing. */
        fun start(context: Context, worker: Class<out ScaleWorker>) {
            val work = request(worker, Duration.ZERO)
            WorkManager.getInstance(context).enqueueUniqueWork(NAME, ExistingWorkPolicy.KEEP, work)
        }

        /** Takes part in no more rounds. One that runs is stored, and continues if the app starts again in time. */
        fun stop(context: Context) {
            WorkManager.getInstance(context).cancelUniqueWork(NAME)
        }

        /** Appended, because replacing the work would cancel the worker that is planning. */
        private fun plan(context: Context, worker: Class<out ScaleWorker>, delay: Duration) {
            val work = request(worker, delay)
            WorkManager.getInstance(context).enqueueUniqueWork(NAME, ExistingWorkPolicy.APPEND_OR_REPLACE, work)
        }

        private fun request(worker: Class<out ScaleWorker>, delay: Duration): OneTimeWorkRequest {
            val constraints = Constraints.Builder()
                .setRequiredNetworkType(NetworkType.UNMETERED)
                .setRequiresBatteryNotLow(true)
                .build()
            return OneTimeWorkRequest.Builder(worker)
                .setConstraints(constraints)
                .setInitialDelay(delay.inWholeMilliseconds, TimeUnit.MILLISECONDS)
                .build()
        }
    }
}
