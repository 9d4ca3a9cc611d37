package io.scalefl.sdk

import io.scalefl.sdk.support.MemoryVault
import io.scalefl.sdk.support.ProcessFacts
import io.scalefl.sdk.support.Scene
import io.scalefl.sdk.support.TASK
import io.scalefl.sdk.support.contribution
import io.scalefl.sdk.support.figure
import io.scalefl.sdk.support.suspending
import java.io.File
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/**
 * Round after round in one process: nothing grows. Runs in a process of its own, whose heap is small and fixed: what grows
 * is then the library's.
 */
class ManyRoundsTest {
    private val vault = MemoryVault()

    @Test
    fun `rounds leave nothing behind`() = suspending {
        val rounds = if (System.getenv("SCALE_LONG") != null) 200 else 40
        // A JVM has locked a file of its own.
        val locksOfTheJvm = ProcessFacts.locks()
        Scene(natives = 11).use { scene ->
            val folder = scene.newFolder()
            // Loads every class and starts every thread.
            var locked = setOf<String>()
            val first = client(scene, folder)
            participation(scene, first) { locked = locked + (ProcessFacts.locks() - locksOfTheJvm) }
            first.shutdown()
            assertTrue(locked.isNotEmpty(), "a round locks its folder, or this test sees no lock at all")
            settle()
            val held = heldByTheLibrary()
            val files = ProcessFacts.open().sorted()
            val client = client(scene, folder)
            var after20 = 0L
            var jvmAfter20 = 0L
            for (round in 1..rounds) {
                participation(scene, client)
                assertEquals(locksOfTheJvm, ProcessFacts.locks(), "locks after round $round")
                if (round == 20) {
                    after20 = settle()
                    jvmAfter20 = ProcessFacts.codeOfTheJvm()
                }
                if (round % 20 == 0) {
                    val (resident, jvm) = settle() / 1024 to ProcessFacts.codeOfTheJvm() / 1024
                    figure("resident memory after $round participations", "$resident kB, of which $jvm kB are code of the JVM")
                }
            }
            val last = settle()
            figure("resident memory after 20 participations", "${after20 / 1024} kB")
            figure("resident memory after $rounds participations", "${last / 1024} kB (${(last - after20) / 1024} kB more)")
            // The JVM goes on compiling its own code: that is not the library's.
            val grown = last - after20 - (ProcessFacts.codeOfTheJvm() - jvmAfter20)
            assertTrue(grown <= 4 shl 20, "it grew by ${grown / 1024} kB beside the JVM's own code")
            client.shutdown()
            settle()
            figure("objects that the library holds", heldByTheLibrary())
            assertEquals(held, heldByTheLibrary(), "objects of this test that the library still holds")
            assertEquals(files, ProcessFacts.open().sorted(), "open files")
        }
    }

    /** A client with everything that an app can bring. */
    private suspend fun client(scene: Scene, folder: File): ScaleClient {
        val conditions = object : ConditionSource {
            override fun current() = Conditions(online = true, charging = true)
        }
        return scene.client(folder, vault = vault, conditions = conditions).also { it.enroll(scene.token()) }
    }

    private suspend fun participation(scene: Scene, client: ScaleClient, onProgress: (Progress) -> Unit = {}) {
        scene.play()
        val outcome = contribution { scene.moves(client, onProgress = onProgress) }
        scene.world.closed(TASK, outcome.number)
    }

    /** Resident memory once the garbage is gone. */
    private fun settle(): Long {
        repeat(3) {
            System.gc()
            System.runFinalization()
            Thread.sleep(300)
        }
        return ProcessFacts.resident()
    }
}
