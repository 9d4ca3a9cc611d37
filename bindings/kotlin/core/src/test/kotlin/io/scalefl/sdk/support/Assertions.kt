package io.scalefl.sdk.support

import io.scalefl.sdk.ErrorKind
import io.scalefl.sdk.ScaleException
import io.scalefl.sdk.code
import io.scalefl.sdk.kind
import io.scalefl.sdk.sentence
import kotlin.time.Duration.Companion.minutes
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Assertions.fail

/** Runs a test that suspends. None may take longer than this. */
fun suspending(test: suspend CoroutineScope.() -> Unit): Unit = runBlocking { withTimeout(10.minutes) { test() } }

/** The call fails with this kind and code, in a sentence that a person can read. Returns the failure. */
suspend fun assertFails(kind: ErrorKind, code: String, call: suspend () -> Any?): ScaleException {
    val failed = try {
        fail<Nothing>("it did not fail: ${call()}")
    } catch (failed: ScaleException) {
        failed
    }
    assertEquals(kind to code, failed.kind to failed.code, failed.sentence)
    assertReadable(failed.sentence)
    return failed
}

/** A sentence for people: no stack trace, no name of a source file. */
fun assertReadable(sentence: String) {
    assertTrue(sentence.length in 10..600, "a sentence of ${sentence.length} characters: $sentence")
    for (trace in listOf("\tat ", "\n", ".kt:", ".rs:", ".java:")) assertFalse(trace in sentence, "`$trace` in: $sentence")
}

/** A figure that the test run shows. */
fun figure(name: String, value: Any) = println("figure: $name: $value")
