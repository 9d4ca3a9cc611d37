package io.scalefl.sdk

import io.scalefl.sdk.support.Scene
import io.scalefl.sdk.support.assertFails
import io.scalefl.sdk.support.suspending
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/** A mistake of the library is an exception: the process lives on, and so does the library. */
class PanicTest {
    @Test
    fun `a panic is an exception, and everything works afterwards`() = suspending {
        Scene(natives = 11).use { scene ->
            val client = scene.enrolled()
            repeat(3) {
                assertFails(ErrorKind.INTERNAL, "panic") { faultsTold { testingPanic() } }
                assertFails(ErrorKind.INTERNAL, "panic") { client.open().testingPanic() }
            }
            assertTrue(client.status().enrolled)
            scene.play()
            scene.assertExactSum(scene.contributes(client).number)
            client.shutdown()
        }
    }
}
