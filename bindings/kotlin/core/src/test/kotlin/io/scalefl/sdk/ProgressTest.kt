package io.scalefl.sdk

import io.scalefl.sdk.support.Scene
import io.scalefl.sdk.support.assertReadable
import io.scalefl.sdk.support.figure
import io.scalefl.sdk.support.suspending
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.toList
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/** What a round says while it runs. */
class ProgressTest {
    @Test
    fun `progress comes at most four times a second and never goes back`() = suspending {
        Scene(natives = 11).use { scene ->
            val client = scene.enrolled()
            scene.play()
            val seen = mutableListOf<Pair<Long, Progress>>()
            lateinit var outcome: Outcome.Contributed
            outcome = io.scalefl.sdk.support.contribution {
                seen.clear()
                scene.moves(client, slow = true) { seen += System.nanoTime() to it }
            }
            scene.assertExactSum(outcome.number)
            assertTrue(seen.size >= 6, "training alone takes three seconds: $seen")
            for (window in seen.windowed(5)) {
                val ms = (window.last().first - window.first().first) / 1_000_000
                assertTrue(ms >= 950, "five events within $ms ms: ${window.map { it.second }}")
            }
            val permille = seen.map { it.second.permille }
            assertEquals(permille.sorted(), permille)
            assertTrue(permille.all { it <= 1000u }, "$permille")
            assertTrue(seen.any { it.second.event is ProgressEvent.Step }, "no step of the training was told")
            seen.forEach { assertReadable(it.second.sentence) }
            val seconds = (seen.last().first - seen.first().first) / 1e9
            figure("progress events", "${seen.size} in %.1f s".format(seconds))
            client.shutdown()
        }
    }

    @Test
    fun `a flow ends with the outcome, and a collector that goes away ends the participation`() = suspending {
        // Nobody else is there: the device waits in its check-in.
        Scene(gate = true).use { scene ->
            val client = scene.enrolled()
            val events = client.round(budget = 2.seconds).toList()
            assertTrue(events.last() is RoundEvent.Ended, "$events")
            assertEquals(1, events.count { it is RoundEvent.Ended })

            val other = scene.enrolled()
            scene.hold("checking_in")
            val first = other.round(ignoringConditions = true).first()
            assertTrue(first is RoundEvent.Working, "$first")
            scene.release()
            assertEquals(null, other.status().phase, "the collector is gone, and nothing runs any more")
            client.shutdown()
            other.shutdown()
        }
    }
}
