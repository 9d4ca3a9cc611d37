package io.scalefl.sdk

import io.scalefl.sdk.support.Scene
import io.scalefl.sdk.support.figure
import io.scalefl.sdk.support.suspending
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import org.junit.jupiter.api.AfterAll
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.TestInstance

/** A round is interrupted in good order, and goes on with the next call. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class PausedTest {
    private val scene = Scene(natives = 11, gate = true)

    @AfterAll
    fun close() = scene.close()

    private suspend fun reached() = withContext(Dispatchers.IO) { scene.reached() }

    /** The round that was interrupted is completed, and paid for once. */
    private suspend fun assertGoesOn(client: ScaleClient) {
        scene.release()
        scene.assertExactSum(scene.contributes(client).number)
        assertEquals(1, client.privacyReport().receipts.size)
        client.shutdown()
    }

    @Test
    fun `a worker whose time is taken away pauses its round`() = suspending {
        val client = scene.enrolled()
        scene.hold("keys")
        scene.play()
        val call = launch(Dispatchers.Default) { while (true) scene.moves(client, onCancellation = OnCancellation.PAUSE) }
        reached()
        val from = System.nanoTime()
        call.cancel()
        call.join()
        val ms = (System.nanoTime() - from) / 1e6
        figure("paused by a cancellation", "%.1f ms".format(ms))
        assertTrue(ms <= 200, "$ms ms")
        assertEquals("paused", client.status().last?.outcome)
        assertGoesOn(client)
    }

    @Test
    fun `a client that is shut down pauses its round, which another client continues`() = suspending {
        val folder = scene.newFolder()
        val client = scene.enrolled(folder)
        scene.hold("shares")
        scene.play()
        val call = async(Dispatchers.Default) {
            var outcome = scene.moves(client)
            while (outcome is Outcome.Waited) outcome = scene.moves(client)
            outcome
        }
        reached()
        client.shutdown()
        val outcome = call.await()
        assertTrue(outcome is Outcome.Paused && outcome.phase == Phase.SHARES, "$outcome")
        assertGoesOn(scene.client(folder))
    }

    @Test
    fun `a budget that is used up pauses the round`() = suspending {
        val client = scene.enrolled()
        scene.hold("unmasking")
        scene.play()
        var outcome = scene.moves(client, budget = 3.seconds)
        while (outcome is Outcome.Waited) outcome = scene.moves(client, budget = 3.seconds)
        assertTrue(outcome is Outcome.Paused, "$outcome")
        val next = outcome.nextStart()
        assertTrue(next is NextStart.After && next.latest!! > next.delay, "$next")
        assertGoesOn(client)
    }
}
