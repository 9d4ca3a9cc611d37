package io.scalefl.sdk.support

import io.scalefl.sdk.ConditionSource
import io.scalefl.sdk.Configuration
import io.scalefl.sdk.Example
import io.scalefl.sdk.OnCancellation
import io.scalefl.sdk.Outcome
import io.scalefl.sdk.OwnGuardrails
import io.scalefl.sdk.Power
import io.scalefl.sdk.Progress
import io.scalefl.sdk.Requirements
import io.scalefl.sdk.ScaleClient
import io.scalefl.sdk.SecretVault
import io.scalefl.sdk.code
import java.io.File
import java.nio.file.Files
import kotlin.time.Duration
import kotlinx.coroutines.delay
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertEquals

const val TASK = "merchants"
val LABELS = listOf("dining", "fuel", "groceries")

/** Examples of a person who eats out and drives. */
fun examples(count: Int): List<Example> = List(count) { number ->
    if (number % 2 == 0) Example("t-$number", "CAFE ROMA $number", "dining", null)
    else Example("t-$number", "PETROL OSLO $number", "fuel", null)
}

/** A world with a task in it, and folders for devices. */
class Scene(natives: Int = 0, gate: Boolean = false, vararg task: Pair<String, Any?>) : AutoCloseable {
    val world = World()
    val folder: File = Files.createTempDirectory("scale-kotlin-").toFile()
    val url: String
    val taskKey: String
    private val told: Map<*, *>
    private var folders = 0

    init {
        val started = world.tell("start", "gate" to gate)
        url = started["url"] as String
        taskKey = started["task_key"] as String
        told = world.tell("task", "name" to TASK, "labels" to LABELS, *task)
        if (natives > 0) world.tell("natives", "task" to TASK, "count" to natives)
    }

    /** How far the testing trainer moves the first weight, and what that comes to in the sum: an update counts by its examples. */
    val step get() = (told["step"] as Double).toFloat()
    val units get() = (told["units"] as Double).toLong() * EXAMPLES / (told["max_weight"] as Double).toLong()

    fun token() = world.tell("token")["token"] as String

    /** Lets the native devices take part in so many rounds. */
    fun play(rounds: Int = 1) {
        // They hear a moment later than the test that their last round is over.
        for (patience in 400 downTo 0) {
            try {
                world.tell("play", "task" to TASK, "rounds" to rounds)
                return
            } catch (busy: IllegalStateException) {
                if (patience == 0 || "in a round already" !in busy.message.orEmpty()) throw busy
                Thread.sleep(50)
            }
        }
    }

    /** A folder that no device has used. */
    fun newFolder() = File(folder, "device-${folders++}")

    fun configuration(folder: File = newFolder(), guardrails: OwnGuardrails? = null, requirements: Requirements = ANY) =
        Configuration(
            coordinator = url, folder = folder.path, task = TASK, taskKey = taskKey,
            guardrails = guardrails, requirements = requirements,
        )

    fun client(
        folder: File = newFolder(),
        guardrails: OwnGuardrails? = null,
        vault: SecretVault? = null,
        conditions: ConditionSource? = null,
    ) = ScaleClient(configuration(folder, guardrails), vault, conditions)

    suspend fun enrolled(folder: File = newFolder()) = client(folder).also { it.enroll(token()) }

    /** Takes part with the testing trainer, whose update is known. */
    suspend fun moves(
        client: ScaleClient,
        slow: Boolean = false,
        budget: Duration? = null,
        onCancellation: OnCancellation = OnCancellation.LEAVE,
        onProgress: (Progress) -> Unit = {},
    ): Outcome = client.move(Move(step, if (slow) SLOW_STEPS else 1, if (slow) SLOW_STEP_MS else 0), budget, onCancellation, onProgress)

    /** Takes part until it has contributed, as an app does: again when it may. */
    suspend fun contributes(client: ScaleClient, patience: Long = 90_000): Outcome.Contributed = contribution(patience) { moves(client) }

    /** The published sum less everything that is known to be in it is what [moved] apps have put in. */
    fun assertExactSum(number: ULong, moved: Int = 1) {
        val beyond = world.beyondNatives(TASK, number, List(moved) { EXAMPLES })
        assertEquals(listOf(0L to moved * units), beyond, "the published sum is that of all inputs")
    }

    /** Holds the next call of this kind back, once it has come. */
    fun hold(call: String) {
        world.tell("hold", "call" to call)
    }

    fun reached() {
        world.tell("reached")
    }

    fun release() {
        world.tell("release")
    }

    /** Waits until no round runs; one may be open for devices to join. */
    fun quiet() {
        val end = System.currentTimeMillis() + 60_000
        while (true) {
            val told = world.tell("rounds", "task" to TASK)
            if ((told["rounds"] as List<*>).all { (it as Map<*, *>)["phase"] in listOf("selecting", "finished", "abandoned") }) return
            check(System.currentTimeMillis() < end) { "a round stays open: $told" }
            Thread.sleep(50)
        }
    }

    override fun close() {
        world.close()
        folder.deleteRecursively()
    }

    companion object {
        /** Phases in which a device waits for an answer that can be held back, and training. */
        val PHASES = listOf("checking_in", "downloading", "training", "keys", "shares", "uploading", "agreeing", "unmasking")
        val ANY = Requirements(unmetered = false, power = Power.ANY)

        /** Examples that the testing trainer says it has seen. */
        const val EXAMPLES = 10
        const val SLOW_STEPS = 150
        const val SLOW_STEP_MS = 20
    }
}

/** Calls [take] until it has contributed. */
suspend fun contribution(patience: Long = 90_000, take: suspend () -> Outcome): Outcome.Contributed {
    val seen = mutableListOf<String>()
    return try {
        withTimeout(patience) {
            while (true) {
                val outcome = take()
                val until = when (outcome) {
                    is Outcome.Contributed -> return@withTimeout outcome
                    is Outcome.Waited -> outcome.until.toLong()
                    is Outcome.Left -> outcome.until.toLong()
                    is Outcome.Paused -> System.currentTimeMillis() + outcome.resumeAfterMs.toLong()
                    is Outcome.EnrollmentNeeded -> error("not enrolled: $outcome after $seen")
                }
                seen += outcome.toString().take(200)
                delay((until - System.currentTimeMillis()).coerceAtLeast(20))
            }
            error("unreachable")
        }
    } catch (late: kotlinx.coroutines.TimeoutCancellationException) {
        throw AssertionError("it has not contributed within $patience ms: $seen", late)
    }
}
