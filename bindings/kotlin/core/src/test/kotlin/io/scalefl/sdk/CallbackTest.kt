package io.scalefl.sdk

import io.scalefl.sdk.support.MemoryVault
import io.scalefl.sdk.support.Scene
import io.scalefl.sdk.support.assertReadable
import io.scalefl.sdk.support.suspending
import io.scalefl.sdk.support.contribution
import java.util.concurrent.CopyOnWriteArrayList
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/** What the app implements throws: the app lives on, and no stack trace and no message of an exception gets anywhere. */
class CallbackTest {
    private val log = CopyOnWriteArrayList<String>()

    @AfterEach
    fun silence() = ScaleLog.silence()

    private val failures = listOf<() -> Nothing>(
        { throw CallbackException.Failed("the app says why") },
        { throw IllegalStateException(PRIVATE) },
        { throw java.io.IOException(PRIVATE) },
        { throw StackOverflowError(PRIVATE) },
    )

    private fun assertSilent(sentence: String) {
        assertReadable(sentence)
        assertFalse(PRIVATE in sentence, sentence)
    }

    @Test
    fun `a vault that throws is a storage failure`() = suspending {
        Scene().use { scene ->
            ScaleLog.send(LogLevel.DEBUG) { _, line -> log += line }
            for (failure in failures) {
                val vault = object : SecretVault {
                    override fun get(name: String): ByteArray? = failure()
                    override fun putNew(name: String, bytes: ByteArray): Boolean = failure()
                    override fun put(name: String, bytes: ByteArray): Unit = failure()
                    override fun delete(name: String): Unit = failure()
                }
                val failed = runCatching { scene.client(vault = vault).use { it.enroll(scene.token()) } }.exceptionOrNull()
                assertTrue(failed is ScaleException.Storage, "$failed")
                assertSilent((failed as ScaleException).sentence)
            }
            log.forEach { assertFalse(PRIVATE in it || "\tat " in it, it) }
        }
    }

    @Test
    fun `a vault of the app keeps an identity`() = suspending {
        Scene().use { scene ->
            val vault = MemoryVault()
            val folder = scene.newFolder()
            val first = scene.client(folder, vault = vault)
            val id = first.enroll(scene.token())
            first.shutdown()
            assertTrue(vault.entries.isNotEmpty())
            scene.client(folder, vault = vault).use { assertEquals(id, it.enroll(scene.token())) }
        }
    }

    @Test
    fun `conditions, listeners and sinks that throw disturb no round`() = suspending {
        Scene(natives = 11).use { scene ->
            for (failure in failures) {
                ScaleLog.send(LogLevel.DEBUG) { _, line ->
                    log += line
                    failure()
                }
                val folder = scene.newFolder()
                val client = scene.client(folder, conditions = object : ConditionSource {
                    override fun current(): Conditions = failure()
                })
                client.enroll(scene.token())
                scene.play()
                val outcome = contribution { scene.moves(client) { failure() } }
                scene.assertExactSum(outcome.number)
                client.shutdown()
            }
            assertTrue(log.isNotEmpty(), "nothing was logged")
            log.forEach { assertFalse(PRIVATE in it || "\tat " in it, it) }
        }
    }

    private companion object {
        const val PRIVATE = "a secret of the person"
    }
}
