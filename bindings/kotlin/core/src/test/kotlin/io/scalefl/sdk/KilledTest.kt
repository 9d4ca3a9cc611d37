package io.scalefl.sdk

import io.scalefl.sdk.support.DeviceProcess
import io.scalefl.sdk.support.Scene
import io.scalefl.sdk.support.figure
import io.scalefl.sdk.support.suspending
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.withContext
import org.junit.jupiter.api.AfterAll
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.TestInstance
import org.junit.jupiter.params.ParameterizedTest
import org.junit.jupiter.params.provider.MethodSource
import org.junit.jupiter.api.Test

/** The system ends the app's process in the middle of a round: a new process goes on with it, and it is paid for once. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class KilledTest {
    private val scene = Scene(natives = 11, gate = true)

    @AfterAll
    fun close() = scene.close()

    private fun phases() = Scene.PHASES

    @ParameterizedTest
    @MethodSource("phases")
    fun `a process that is killed is continued by the next one`(phase: String) = suspending {
        val folder = scene.newFolder()
        scene.enrolled(folder).shutdown()
        if (phase != "training") scene.hold(phase)
        scene.play()
        DeviceProcess(scene, folder, "steps=${if (phase == "training") Scene.SLOW_STEPS else 1}").use { device ->
            if (phase == "training") device.until { it["step"] != null } else withContext(Dispatchers.IO) { scene.reached() }
            device.kill()
        }
        if (phase != "training") scene.release()
        assertContributes(folder)
    }

    @Test
    fun `a round that is paused goes on in another process`() = suspending {
        val folder = scene.newFolder()
        scene.enrolled(folder).shutdown()
        scene.hold("agreeing")
        scene.play()
        DeviceProcess(scene, folder, "budget=3000").use { device ->
            val outcome = device.outcome()["outcome"] as Map<*, *>
            assertEquals("paused", outcome["kind"], "$outcome")
            figure("paused", outcome)
            device.end()
        }
        scene.release()
        assertContributes(folder)
    }

    /** Another process contributes to the round that was begun. */
    private suspend fun assertContributes(folder: java.io.File) {
        val told = withContext(Dispatchers.IO) {
            generateSequence { DeviceProcess(scene, folder).use { device -> device.outcome().also { device.end() } } }
                .first { told ->
                    val outcome = told["outcome"] as Map<*, *>? ?: error("$told")
                    if (outcome["kind"] != "contributed") {
                        val wait = outcome["resumeAfterMs"] as Double? ?: ((outcome["until"] as Double) - System.currentTimeMillis())
                        Thread.sleep(wait.toLong().coerceIn(20, 10_000))
                    }
                    outcome["kind"] == "contributed"
                }
        }
        val outcome = told["outcome"] as Map<*, *>
        scene.assertExactSum((outcome["number"] as Double).toULong())
        assertEquals(1.0, told["receipts"], "the round is paid for once")
    }
}
