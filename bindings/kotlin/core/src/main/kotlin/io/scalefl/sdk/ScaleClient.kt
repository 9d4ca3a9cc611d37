package io.scalefl.sdk

import java.util.concurrent.atomic.AtomicBoolean
import kotlin.time.Duration
import kotlin.time.Duration.Companion.minutes
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.DelicateCoroutinesApi
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.GlobalScope
import kotlinx.coroutines.async
import kotlinx.coroutines.flow.Flow

/**
 * One installation of an app, for one task that classifies lines of text.
 *
 * The work runs on the library's own threads: every function may be called from any dispatcher, the main thread's too. Only
 * the constructor works on the caller's thread: it loads the native library and reads the folder. One participation runs at a
 * time; all other calls may be made meanwhile.
 *
 * Clients of the same folder in one process share one installation: their configurations must be equal, and all or none of
 * them must have a vault. The vault and the conditions of the first are used for all.
 *
 * If the coroutine is cancelled, [enroll], [refreshModel], [participate] and [round] end within 200 ms, in good order; calls on
 * the device alone ([put], [predict], [status], …) run to their end. Either way the call then throws
 * [CancellationException][kotlin.coroutines.cancellation.CancellationException]. What it had done by then stays done:
 * stored examples are stored, and a contribution that was complete counts. [status] and [privacyReport] tell.
 *
 * All other failures are a [ScaleException].
 *
 * @param configuration where the coordinator is, and where this installation keeps its files.
 * @param vault keeps the secrets of this installation; by default files in the folder, readable by their owner only.
 * @param conditions says what state the device is in; by default everything is unknown, which counts as good unless
 *   [Requirements.strict].
 * @throws ScaleException.Configuration if the configuration is wrong.
 * @throws ScaleException.Usage with the code `folder_in_use` if the process has a client of this folder with another
 *   configuration, or only one of the two has a vault.
 */
class ScaleClient(
    configuration: Configuration,
    vault: SecretVault? = null,
    conditions: ConditionSource? = null,
) : AutoCloseable {
    private val native =
        faultsTold { NativeClient(configuration, vault?.let(::GuardedVault), conditions?.let(::GuardedConditions)) }
    private val closed = AtomicBoolean(false)

    /**
     * The end, which comes once and which everyone can wait for. It also frees everything behind [native]: what is left of it,
     * the garbage collector takes.
     */
    // Not in the scope of who closes, whose end it outlives; on IO, because threads of Default may be blocked until it is done.
    @OptIn(DelicateCoroutinesApi::class)
    private val end = GlobalScope.async(Dispatchers.IO, CoroutineStart.LAZY) { native.shutDown() }

    /** The native client, for as long as this one is open. */
    internal fun open(): NativeClient {
        if (closed.get()) throw ScaleException.Usage("closed", "this client is closed: create another one")
        return native
    }

    /**
     * Exchanges an enrollment token for a device identity, or renews the device's own token if it was refused or ends soon.
     * Otherwise nothing is sent. Returns the device id.
     */
    suspend fun enroll(token: String): String = stoppable { stop -> open().enroll(token, stop) }

    /**
     * Stores examples; one whose id is stored replaces the old one. If one is refused, none is stored. If the device's storage
     * fails on the way, some are stored: put the same examples again.
     */
    suspend fun put(examples: List<Example>): PutSummary = toItsEnd { open().put(examples) }

    /** Deletes examples permanently. Returns how many of the ids were there. */
    suspend fun remove(ids: List<String>): Int = toItsEnd { open().remove(ids).toInt() }

    /**
     * Classifies lines with the model on this device, without network.
     *
     * @param top labels for each line.
     */
    suspend fun predict(texts: List<String>, top: Int = 1): List<Prediction> {
        if (top < 1) throw ScaleException.Usage("bad_argument", "`top` is $top: ask for at least one label")
        return toItsEnd { open().predict(texts, top.toUInt()) }
    }

    /** Downloads the newest model. Returns null if it is on this device already. */
    suspend fun refreshModel(): ModelInfo? = stoppable { stop -> open().refreshModel(stop) }

    /**
     * Takes part in one round with the stored examples, or continues a round that was interrupted. Throws only if nothing
     * could be tried; how it went otherwise is the [Outcome], and [nextStart] says when to call again.
     *
     * If the coroutine is cancelled, the outcome is not returned: a round that was complete by then counts and stands in
     * [privacyReport], and [Status.last] says how the call ended.
     *
     * @param budget after this time the call ends with [Outcome.Paused] instead of waiting any longer; null: no limit.
     * @param job credential of the REST API's training job, so that the person's screens show the round's progress.
     * @param ignoringConditions joins regardless of the device's conditions, because the person asked for it.
     * @param onCancellation what becomes of the round if the coroutine is cancelled.
     * @param onProgress called at most four times a second, and for every phase, on a thread of the library. What it throws
     *   disturbs nothing.
     */
    suspend fun participate(
        budget: Duration? = DEFAULT_BUDGET,
        job: String? = null,
        ignoringConditions: Boolean = false,
        onCancellation: OnCancellation = OnCancellation.LEAVE,
        onProgress: (Progress) -> Unit = {},
    ): Outcome {
        val options = runOptions(budget, job, ignoringConditions)
        val listener = GuardedListener(onProgress)
        return stoppable(onCancellation) { stop -> open().participate(options, stop, listener) }
    }

    /**
     * Takes part in one round for every collector, like [participate]: any number of [RoundEvent.Working], then one
     * [RoundEvent.Ended]. A collector that goes away (also by `first()` or `take()`) cancels the participation, and so does
     * cancelling its coroutine. One that is slow misses progress, and never the end.
     */
    fun round(
        budget: Duration? = DEFAULT_BUDGET,
        job: String? = null,
        ignoringConditions: Boolean = false,
        onCancellation: OnCancellation = OnCancellation.LEAVE,
    ): Flow<RoundEvent> = roundEvents { onProgress ->
        participate(budget, job, ignoringConditions, onCancellation, onProgress)
    }

    /** The status of the installation, also while a round runs. */
    suspend fun status(): Status = toItsEnd { open().status() }

    /** The report of the privacy ledger. While a round runs, it is as of the last record. */
    suspend fun privacyReport(): PrivacyReport = toItsEnd { open().privacyReport() }

    /** The report as JSON, for the person to keep. */
    suspend fun exportPrivacyReport(): String = toItsEnd { open().exportPrivacyReport() }

    /** Replaces a locked privacy ledger by a new one. Returns false, and changes nothing, if it is intact. */
    suspend fun resetPrivacyLedger(): Boolean = toItsEnd { open().resetPrivacyLedger() }

    /** The limits as they hold: for each, the stricter of the app's and the compiled one. */
    fun guardrails(): Guardrails = faultsTold { open().guardrails() }

    /**
     * Deletes a person's data: their examples, or everything of this installation, which also ends its identity and its
     * record of the privacy budget spent.
     */
    suspend fun forget(what: Forget): Unit = toItsEnd { open().forget(what) }

    /**
     * Closes the client, and returns when nothing of it is written or locked any more. A round that runs through it is
     * stored, and continues with the next call of another client. May be called again, and after [close]: it waits for the
     * same end.
     */
    suspend fun shutdown() {
        closed.set(true)
        toItsEnd { end.await() }
    }

    /**
     * Closes the client without waiting for a round that runs through it: that is stored in the background, and continues
     * with the next call of another client. To wait for it, call [shutdown].
     */
    override fun close() {
        closed.set(true)
        // Its failure goes to who calls `shutdown`, if anyone does: the round is stored before every step in any case.
        end.start()
    }

    /** What all clients share. */
    companion object {
        /** Time that a participation has unless the caller says otherwise: WorkManager stops ordinary work after ten minutes. */
        val DEFAULT_BUDGET: Duration = 8.minutes

        /** Version of the native library. */
        val version: String get() = sdkVersion()
    }
}

internal fun runOptions(budget: Duration?, job: String?, ignoringConditions: Boolean): RunOptions {
    if (budget != null && budget.isNegative()) {
        throw ScaleException.Usage("bad_argument", "`budget` is $budget: a time below zero leaves nothing to do")
    }
    // An infinite budget is one that does not fit into the native number: no limit.
    val milliseconds = budget?.takeIf(Duration::isFinite)?.inWholeMilliseconds?.toULong()
    return RunOptions(budgetMs = milliseconds, job = job, ignoreConditions = ignoringConditions)
}
