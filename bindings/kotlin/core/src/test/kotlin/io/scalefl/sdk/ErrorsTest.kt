package io.scalefl.sdk

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test

/** What an app reads from a failure without knowing which one it is. */
class ErrorsTest {
    @Test
    fun `every failure has a kind, a code and a sentence`() {
        val failures = listOf(
            ScaleException.Configuration("c", "s") to "configuration",
            ScaleException.Usage("c", "s") to "usage",
            ScaleException.Network("c", "s") to "network",
            ScaleException.Refused("c", "s", null) to "refused",
            ScaleException.Storage("c", "s") to "storage",
            ScaleException.PrivacyLedger("c", "s") to "privacy_ledger",
            ScaleException.Model("c", "s") to "model",
            ScaleException.Cancelled("c", "s") to "cancelled",
            ScaleException.Internal("c", "s") to "internal",
        )
        for ((failure, word) in failures) assertEquals(Triple(word, "c", "s"), Triple(failure.kind.word, failure.code, failure.sentence))
        assertEquals(ErrorKind.entries.size, failures.size)
    }
}
