package io.scalefl.sdk

import io.scalefl.sdk.support.Json
import io.scalefl.sdk.support.Move
import io.scalefl.sdk.support.Scene
import io.scalefl.sdk.support.TASK
import io.scalefl.sdk.support.contribution
import io.scalefl.sdk.support.move
import kotlin.time.Duration.Companion.milliseconds
import kotlinx.coroutines.runBlocking

/**
 * A device in a process of its own: takes part once, and says what happens in lines of JSON.
 *
 * Arguments: address, task key, folder, step of the testing trainer; then any of `steps=N`, `budget=MS` (default: none), and
 * `token=TEXT`: enrolls first, and takes part until it has contributed.
 */
fun main(arguments: Array<String>): Unit = runBlocking {
    val (url, taskKey, folder, step) = arguments
    val options = arguments.drop(4).associate { option -> option.split("=", limit = 2).let { (name, value) -> name to value } }
    val configuration = Configuration(coordinator = url, folder = folder, task = TASK, taskKey = taskKey, requirements = Scene.ANY)
    try {
        ScaleClient(configuration).use { client ->
            val steps = (options["steps"] ?: "1").toInt()
            val move = Move(step.toFloat(), steps, if (steps > 1) Scene.SLOW_STEP_MS else 0)
            val takePart = suspend {
                client.move(move, options["budget"]?.toLong()?.milliseconds) { progress ->
                    val steps = (progress.event as? ProgressEvent.Step)?.step?.toInt()
                    say("is" to "progress", "phase" to progress.phase.name.lowercase(), "step" to steps)
                }
            }
            val token = options["token"]
            token?.let { client.enroll(it) }
            val outcome = if (token == null) takePart() else contribution { takePart() }
            val receipts = client.privacyReport().receipts.size
            say("is" to "outcome", "receipts" to receipts, "outcome" to Json.read(outcome.toJson()))
            client.shutdown()
        }
    } catch (failed: ScaleException) {
        say("is" to "error", "kind" to failed.kind.word, "code" to failed.code, "sentence" to failed.sentence)
    }
}

@Synchronized
private fun say(vararg fields: Pair<String, Any?>) {
    println(Json.write(mapOf(*fields)))
}
