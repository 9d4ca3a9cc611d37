package io.scalefl.reactnative

import io.scalefl.sdk.Configuration
import io.scalefl.sdk.Forget
import io.scalefl.sdk.NativeClient
import io.scalefl.sdk.Progress
import io.scalefl.sdk.ProgressListener
import io.scalefl.sdk.ScaleException
import io.scalefl.sdk.Stop
import io.scalefl.sdk.code
import io.scalefl.sdk.configurationFromJson
import io.scalefl.sdk.examplesFromJson
import io.scalefl.sdk.guardrailsToJson
import io.scalefl.sdk.kind
import io.scalefl.sdk.modelInfoToJson
import io.scalefl.sdk.outcomeToJson
import io.scalefl.sdk.predictionsToJson
import io.scalefl.sdk.privacyReportToJson
import io.scalefl.sdk.progressToJson
import io.scalefl.sdk.putSummaryToJson
import io.scalefl.sdk.runOptionsFromJson
import io.scalefl.sdk.sentence
import io.scalefl.sdk.statusToJson
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.atomic.AtomicInteger
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

/** How a call ended: `done` with a text, or `failed` with what JavaScript makes an error of. */
typealias Answer = Map<String, Any?>

/**
 * The clients of one JavaScript runtime, by number. `ios/Clients.swift` is the same in Swift.
 *
 * It calls the library's own client, not the one for Kotlin: how a call ended that JavaScript has stopped is said by the
 * library, and not by a coroutine that was cancelled.
 *
 * @param open makes the client of a configuration whose `folder` is a name.
 * @param onProgress hears of the progress of a call, as JSON.
 */
class Clients(
    private val open: (Configuration) -> NativeClient,
    private val onProgress: (call: Int, progress: String) -> Unit,
) {
    private val numbers = AtomicInteger()
    private val clients = ConcurrentHashMap<Int, NativeClient>()
    private val stops = HashMap<Int, Stop>()

    /** Opens an installation. Answers with the client's number. */
    suspend fun create(configuration: String): Answer = answered {
        val client = open(configurationFromJson(configuration))
        numbers.incrementAndGet().also { clients[it] = client }.toString()
    }

    /** The number of a call that can be stopped from now on. */
    fun announce(): Int {
        val call = numbers.incrementAndGet()
        synchronized(stops) { stops[call] = Stop() }
        return call
    }

    /** Cancels a call. One that is over is not there any more. */
    fun stop(call: Int) = synchronized(stops) { stops[call]?.cancel() ?: Unit }

    /** Makes a call of the client with this number; [call] was announced, or is 0. */
    suspend fun call(client: Int, call: Int, method: String, args: List<String>): Answer = answered {
        try {
            val stop = synchronized(stops) { stops[call] } ?: Stop()
            if (method == "close") close(client) else of(client).answer(method, args, stop) { onProgress(call, it) }
        } finally {
            synchronized(stops) { stops.remove(call) }
        }
    }

    /** JavaScript is gone. What runs pauses, and goes on with the next call of another client. */
    fun end() {
        val all = clients.keys.toList()
        CoroutineScope(Dispatchers.Default).launch {
            // A failure has nobody left to go to, and a round is stored before every step in any case.
            for (client in all) runCatching { close(client) }
        }
    }

    private suspend fun close(number: Int): String {
        clients.remove(number)?.shutDown()
        return "null"
    }

    private fun of(number: Int): NativeClient =
        clients[number] ?: throw ScaleException.Usage("closed", "this client is closed: create another one")
}

/** A call by its name. JavaScript has checked that the arguments are there. */
private suspend fun NativeClient.answer(
    method: String,
    args: List<String>,
    stop: Stop,
    onProgress: (String) -> Unit,
): String = when (method) {
    "enroll" -> enroll(args[0], stop)
    "put" -> putSummaryToJson(put(examplesFromJson(args[0])))
    "remove" -> remove(args).toString()
    "predict" -> predictionsToJson(predict(args.drop(1), args[0].toUInt()))
    "refreshModel" -> refreshModel(stop)?.let(::modelInfoToJson) ?: "null"
    "participate" -> outcomeToJson(participate(runOptionsFromJson(args[0]), stop, Listener(onProgress)))
    "status" -> statusToJson(status())
    "privacyReport" -> privacyReportToJson(privacyReport())
    "exportPrivacyReport" -> exportPrivacyReport()
    "resetPrivacyLedger" -> resetPrivacyLedger().toString()
    "guardrails" -> guardrailsToJson(guardrails())
    "forget" -> "null".also { forget(if (args[0] == "everything") Forget.EVERYTHING else Forget.EXAMPLES) }
    else -> throw ScaleException.Internal("unknown_method", "JavaScript and the native part are of different versions")
}

private class Listener(private val onProgress: (String) -> Unit) : ProgressListener {
    override fun onProgress(progress: Progress) = onProgress(progressToJson(progress))
}

/** Also when JavaScript ends meanwhile: a call that is dropped ends like a killed process. */
internal suspend fun answered(work: suspend () -> String): Answer = withContext(NonCancellable) {
    try {
        mapOf("done" to work())
    } catch (failure: ScaleException) {
        mapOf("failed" to failure.toMap())
    }
}

private fun ScaleException.toMap(): Map<String, Any> = buildMap {
    put("kind", kind.word)
    put("code", code)
    put("message", sentence)
    // JavaScript's numbers are doubles.
    (this@toMap as? ScaleException.Refused)?.retryAfterMs?.let { put("retryAfterMs", it.toDouble()) }
}
