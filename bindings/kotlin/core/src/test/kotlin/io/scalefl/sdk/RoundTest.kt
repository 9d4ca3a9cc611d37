package io.scalefl.sdk

import io.scalefl.sdk.support.Scene
import io.scalefl.sdk.support.suspending
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test

/** One whole round with native devices. Later coordinators are tested with this class of earlier releases. */
class RoundTest {
    @Test
    fun `one app and eleven native devices publish the exact sum`() = suspending {
        Scene(natives = 11).use { scene ->
            val client = scene.enrolled()
            scene.play()
            val outcome = scene.contributes(client)
            scene.assertExactSum(outcome.number)
            assertEquals(outcome.number, outcome.receipt?.number)
            assertEquals("contributed", client.status().last?.outcome)
            client.shutdown()
        }
    }
}
