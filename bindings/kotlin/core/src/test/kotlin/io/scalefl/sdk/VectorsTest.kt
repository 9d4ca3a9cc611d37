package io.scalefl.sdk

import io.scalefl.sdk.support.figure
import java.io.File
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/** The library in this process computes what every other client computes. */
class VectorsTest {
    @Test
    fun `a seeded device sends the same bytes as every other client`() {
        val path = checkNotNull(System.getenv("SCALE_TRANSCRIPTS")) { "SCALE_TRANSCRIPTS names bindings/tests/transcripts.txt" }
        val golden = File(path).readLines().filter { it.isNotBlank() && !it.startsWith("#") }.map { it.split(Regex("\\s+")) }
        assertTrue(golden.isNotEmpty(), "$path holds nothing")
        for ((seed, hash) in golden) assertEquals(hash, testingTranscript(seed.toUInt()), "seed $seed")
    }
}
