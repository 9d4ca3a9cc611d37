package io.scalefl.sdk

import io.scalefl.sdk.support.DeviceProcess
import io.scalefl.sdk.support.Scene
import io.scalefl.sdk.support.assertFails
import io.scalefl.sdk.support.assertReadable
import io.scalefl.sdk.support.examples
import io.scalefl.sdk.support.suspending
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.withContext
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/** Two clients of one folder, as a worker in the background beside the open app. */
class SharedFolderTest {
    @Test
    fun `clients of one process share an installation`() = suspending {
        Scene().use { scene ->
            val folder = scene.newFolder()
            val one = scene.enrolled(folder)
            val other = scene.client(folder)
            assertTrue(other.status().enrolled)
            other.put(examples(3))
            assertEquals(3u, one.status().examples.total)
            val different = scene.configuration(folder).copy(task = "another-task")
            assertFails(ErrorKind.USAGE, "folder_in_use") { ScaleClient(different) }
            // One is closed: the other goes on.
            one.shutdown()
            assertEquals(3u, other.status().examples.total)
            other.shutdown()
            // Nobody has the folder any more: another task may learn from its examples.
            ScaleClient(different).use { assertEquals(3u, it.status().examples.total) }
        }
    }

    @Test
    fun `one of two processes takes part`() = suspending {
        Scene(natives = 11, gate = true).use { scene ->
            val folder = scene.newFolder()
            val client = scene.enrolled(folder)
            scene.hold("keys")
            scene.play()
            val round = async(Dispatchers.Default) { scene.contributes(client) }
            withContext(Dispatchers.IO) { scene.reached() }
            DeviceProcess(scene, folder).use { device ->
                val told = device.outcome()
                val outcome = told["outcome"] as Map<*, *>?
                val code = outcome?.get("code") ?: told["code"]
                assertTrue(outcome?.get("kind") != "contributed", "both took part: $told")
                assertReadable((outcome?.get("sentence") ?: told["sentence"]) as String)
                assertTrue("${code}".contains(Regex("use|lock|busy|running")), "$told")
                device.end()
            }
            scene.release()
            scene.assertExactSum(round.await().number)
            assertEquals(1, client.privacyReport().receipts.size)
            client.shutdown()
        }
    }
}
