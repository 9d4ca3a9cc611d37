package io.scalefl.sdk

import io.scalefl.sdk.support.Scene
import io.scalefl.sdk.support.TASK
import io.scalefl.sdk.support.assertFails
import io.scalefl.sdk.support.figure
import io.scalefl.sdk.support.suspending
import kotlin.coroutines.cancellation.CancellationException
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import org.junit.jupiter.api.AfterAll
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.TestInstance

/** An app cancels its coroutine: whatever the device is doing, and although nobody answers it, the call is over at once. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class CancellationTest {
    // A round begins with twelve native devices and the app, and goes on without the app.
    private val task = arrayOf<Pair<String, Any?>>("devices" to DEVICES, "stage_ms" to 10_000, "grace_ms" to 2_500)
    private val scene = Scene(natives = DEVICES - 1, gate = true, task = task)

    @AfterAll
    fun close() = scene.close()

    /** Somebody new is cancelled in a phase; how long that took. */
    private suspend fun cancelledIn(phase: String): Pair<ScaleClient, Double> = coroutineScope {
        val client = scene.enrolled()
        val training = CompletableDeferred<Unit>()
        if (phase != "training") scene.hold(phase)
        // Nobody waits for an app that has not asked yet.
        if (phase != "checking_in") scene.play()
        var ended: Any? = null
        val call = launch(Dispatchers.Default) {
            // The natives may be a moment late, and the device is told to ask again.
            while (ended == null || ended is Outcome.Waited) {
                ended = scene.moves(client, slow = phase == "training") { if (it.event is ProgressEvent.Step) training.complete(Unit) }
            }
        }
        if (phase == "training") training.await() else withContext(Dispatchers.IO) { scene.reached() }
        val from = System.nanoTime()
        call.cancel()
        call.join()
        val ms = (System.nanoTime() - from) / 1e6
        if (phase != "training") scene.release()
        assertTrue(call.isCancelled && (ended == null || ended is Outcome.Waited), "$phase: the call came back with $ended")
        val last = client.status().last
        assertEquals("left" to "cancelled", last?.outcome to last?.code, "$phase: ${last?.sentence}")
        withContext(Dispatchers.IO) { scene.quiet() }
        client to ms
    }

    @Test
    fun `a call that is cancelled ends at once in every phase, and everybody takes part afterwards`() = suspending {
        val left = mutableListOf<ScaleClient>()
        for (phase in Scene.PHASES) {
            var ms = Double.MAX_VALUE
            // The figure is about the library, not about what else this machine does: one that was slow has another try.
            for (attempt in 1..3) {
                val (client, took) = cancelledIn(phase)
                if (attempt == 1) left += client else client.shutdown()
                ms = took
                figure("cancelled while $phase", "%.1f ms".format(ms))
                if (ms <= AT_ONCE_MS) break
            }
            assertTrue(ms <= AT_ONCE_MS, "$phase: $ms ms")
        }
        // All of them and some natives are in one round.
        scene.world.tell("natives", "task" to TASK, "count" to DEVICES - left.size)
        scene.play()
        val outcomes = coroutineScope { left.map { async(Dispatchers.Default) { scene.contributes(it, 150_000) } }.awaitAll() }
        val number = outcomes.map { it.number }.distinct().single()
        scene.assertExactSum(number, moved = left.size)
        left.forEach { assertEquals(1, it.privacyReport().receipts.count { receipt -> receipt.number == number }) }
        left.forEach { it.shutdown() }
    }

    @Test
    fun `calls that were cancelled before they began send nothing`() = suspending {
        val client = scene.client()
        val call = launch(start = kotlinx.coroutines.CoroutineStart.UNDISPATCHED) {
            coroutineScope { kotlin.runCatching { delay(Long.MAX_VALUE) } }
            client.enroll("this is no token, and nobody must hear of it")
        }
        call.cancel()
        call.join()
        assertTrue(call.isCancelled)
        // A coordinator that had been asked would have refused the token.
        assertFails(ErrorKind.REFUSED, "bad_token") { client.enroll("this is no token either") }
        client.shutdown()
    }

    @Test
    fun `enroll and refreshModel can be cancelled and repeated`() = suspending {
        val client = scene.client()
        // Taken before: while the world waits for a call that is held, it answers nothing else.
        val token = scene.token()
        for ((call, work) in listOf<Pair<String, suspend () -> Any?>>(
            "enroll" to { client.enroll(token) },
            "model" to { client.refreshModel() },
        )) {
            scene.hold(call)
            val job = launch(Dispatchers.Default) { work() }
            withContext(Dispatchers.IO) { scene.reached() }
            val from = System.nanoTime()
            job.cancel()
            job.join()
            val ms = (System.nanoTime() - from) / 1e6
            scene.release()
            assertTrue(job.isCancelled)
            figure("cancelled $call", "%.1f ms".format(ms))
            assertTrue(ms <= AT_ONCE_MS, "$call: $ms ms")
            work()
        }
        client.shutdown()
    }

    @Test
    fun `cancellations at random moments break nothing`() = suspending {
        val short = arrayOf<Pair<String, Any?>>("devices" to DEVICES, "stage_ms" to 2_000, "grace_ms" to 200)
        Scene(natives = DEVICES - 1, task = short).use { cancelledAtRandom(it) }
    }

    private suspend fun cancelledAtRandom(scene: Scene) = coroutineScope {
        // The natives wait for an app in round after round, also in the last one.
        scene.play(rounds = 200)
        val random = kotlin.random.Random(14)
        val seen = sortedMapOf<String, Int>()
        var client = scene.enrolled()
        val times = if (System.getenv("SCALE_LONG") != null) 100 else 40
        for (turn in 1..times) {
            withContext(Dispatchers.IO) { scene.quiet() }
            val call = async(Dispatchers.Default) { scene.moves(client) }
            // Some come before the call's first step, and some after its end.
            if (turn % 10 == 0) delay(random.nextLong(3)) else delay(random.nextLong(600))
            if (turn % 10 == 5) runCatching { call.await() }
            call.cancel()
            call.join()
            val ended = runCatching { call.await() }
            assertTrue(ended.isSuccess || ended.exceptionOrNull() is CancellationException, "turn $turn: ${ended.exceptionOrNull()}")
            val last = client.status().last
            val what = ended.fold({ "over as" }, { "cancelled," }) + " ${last?.outcome ?: "nothing yet"} ${last?.code.orEmpty()}".trimEnd()
            seen.merge(what, 1, Int::plus)
            // One that has left a round is sent away for half a minute: somebody else goes on.
            if (turn < times && last?.outcome == "left") {
                client.shutdown()
                client = scene.enrolled()
            }
        }
        figure("$times cancellations at random moments", seen)
        val outcome = scene.contributes(client, 180_000)
        scene.assertExactSum(outcome.number)
        client.shutdown()
    }

    private companion object {
        const val AT_ONCE_MS = 200.0
        const val DEVICES = 13
    }
}
