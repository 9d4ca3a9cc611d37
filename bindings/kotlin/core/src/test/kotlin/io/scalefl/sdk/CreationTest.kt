package io.scalefl.sdk

import io.scalefl.sdk.support.Scene
import io.scalefl.sdk.support.assertReadable
import io.scalefl.sdk.support.assertFails
import io.scalefl.sdk.support.examples
import io.scalefl.sdk.support.suspending
import java.io.File
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

/** Clients without a coordinator: what they say of a wrong configuration, and what they store. */
class CreationTest {
    @TempDir
    lateinit var folder: File

    private fun good() = Configuration(
        coordinator = "http://127.0.0.1:9", folder = File(folder, "device").path, task = "merchants", taskKey = "ab".repeat(32),
        requirements = Scene.ANY,
    )

    @Test
    fun `a new client knows nothing and has no identity`() = suspending {
        ScaleClient(good()).use { client ->
            val status = client.status()
            assertFalse(status.enrolled)
            assertNull(status.phase)
            assertNull(status.model)
            assertEquals(0u, status.examples.total)
            assertTrue(client.privacyReport().receipts.isEmpty())
            assertTrue(client.guardrails().cohortMin >= 2u)
            assertTrue(ScaleClient.version.isNotEmpty())
            client.shutdown()
        }
    }

    @Test
    fun `a wrong configuration is refused by name`() = suspending {
        val wrong = listOf(
            good().copy(coordinator = "not a url") to "coordinator",
            good().copy(coordinator = "ftp://fl.example.org") to "coordinator",
            good().copy(taskKey = "abc") to "key",
            good().copy(taskKey = "g".repeat(64)) to "key",
            good().copy(task = "Not A Task") to "task",
            good().copy(identityRoot = "12") to "root",
            good().copy(folder = "") to "folder",
        )
        for ((configuration, word) in wrong) {
            val failed = runCatching { ScaleClient(configuration).close() }.exceptionOrNull()
            assertTrue(failed is ScaleException.Configuration, "$configuration: $failed")
            failed as ScaleException
            assertTrue(failed.code.matches(Regex("[a-z_]+")), failed.code)
            assertReadable(failed.sentence)
            assertTrue(word in failed.sentence.lowercase().replace("_", ""), "`$word` is not in: ${failed.sentence}")
        }
    }

    @Test
    fun `a folder that cannot be written is told with its path`() = suspending {
        val file = File(folder, "a file").apply { writeText("in the way") }
        val failed = runCatching {
            ScaleClient(good().copy(folder = file.path)).use { it.put(examples(1)) }
        }.exceptionOrNull()
        assertTrue(failed is ScaleException.Storage || failed is ScaleException.Configuration, "$failed")
        assertReadable((failed as ScaleException).sentence)
    }

    @Test
    fun `examples are stored, replaced and removed`() = suspending {
        val client = ScaleClient(good())
        assertEquals(PutSummary(added = 4u, replaced = 0u, unchanged = 0u, dropped = 0u), client.put(examples(4)))
        val changed = examples(4).map { if (it.id == "t-1") it.copy(label = "groceries") else it }
        assertEquals(PutSummary(added = 0u, replaced = 1u, unchanged = 3u, dropped = 0u), client.put(changed))
        assertEquals(1, client.remove(listOf("t-1", "no such id")))
        assertEquals(3u, client.status().examples.total)
        client.shutdown()
        // Another client of the folder finds them.
        ScaleClient(good()).use { assertEquals(3u, it.status().examples.total) }
    }

    @Test
    fun `mistakes of the app are told as such`() = suspending {
        val client = ScaleClient(good())
        assertFails(ErrorKind.USAGE, "no_model") { client.predict(listOf("CAFE ROMA")) }
        assertFails(ErrorKind.USAGE, "bad_argument") { client.predict(listOf("CAFE ROMA"), top = 0) }
        assertFails(ErrorKind.USAGE, "bad_argument") { client.participate(budget = (-1).seconds) }
        client.close()
        client.close()
        assertFails(ErrorKind.USAGE, "closed") { client.status() }
        assertFails(ErrorKind.USAGE, "closed") { client.guardrails() }
    }

    @Test
    fun `half of an emoji is a mistake of the app`() = suspending {
        val half = "CAFE \uD83D"
        assertFails(ErrorKind.USAGE, "bad_argument") { ScaleClient(good().copy(task = half)).close() }
        val client = ScaleClient(good())
        assertFails(ErrorKind.USAGE, "bad_argument") { client.put(listOf(Example("t-1", half, "dining", null))) }
        assertFails(ErrorKind.USAGE, "bad_argument") { client.predict(listOf(half)) }
        assertFails(ErrorKind.USAGE, "bad_argument") { client.enroll(half) }
        assertEquals(0u, client.status().examples.total)
        client.shutdown()
    }

    @Test
    fun `a client that is closed can be shut down, also more than once`() = suspending {
        val client = ScaleClient(good())
        client.put(examples(1))
        client.close()
        List(2) { async(Dispatchers.Default) { client.shutdown() } }.awaitAll()
        client.shutdown()
        client.close()
        assertFails(ErrorKind.USAGE, "closed") { client.status() }
    }

    @Test
    fun `a coordinator that is not there is a network failure`() = suspending {
        val client = ScaleClient(good())
        val failed = runCatching { client.enroll("a token") }.exceptionOrNull()
        assertTrue(failed is ScaleException.Network, "$failed")
        assertReadable((failed as ScaleException).sentence)
        client.shutdown()
    }
}
