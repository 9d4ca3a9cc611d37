package io.scalefl.examples.categorizer

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class ArgumentsTest {
    private fun read(line: String, vararg environment: Pair<String, String>) =
        Arguments.read(line.split(" ").filter(String::isNotEmpty).toTypedArray(), mapOf(*environment))

    @Test
    fun `options come from the line, or else from variables`() {
        val read = read("--folder f --task-key k join --rounds 3", "SCALE_FOLDER" to "g", "SCALE_COORDINATOR" to "u", "SCALE_TASK" to "t")!!
        assertEquals(listOf("join", 3), listOf(read.command, read.rounds))
        read.configuration().run { assertEquals(listOf("u", "t", "k", "f/scale"), listOf(coordinator, task, taskKey, folder)) }
        assertNull(read("--help"))
    }

    @Test
    fun `what is wrong is named`() {
        for ((line, word) in listOf(
            "" to "command", "--folder f dance" to "dance", "--folder f correct 1" to "2", "--loud" to "--loud", "--folder" to "value",
            "--folder f join --rounds none" to "none", "status" to "SCALE_FOLDER",
        )) {
            val wrong = assertThrows(WrongCommandLine::class.java) { read(line) }
            assertTrue(word in wrong.message!!, "$line: ${wrong.message}")
        }
        val wrong = assertThrows(WrongCommandLine::class.java) { read("--folder f status")!!.configuration() }
        assertTrue("--coordinator" in wrong.message!! && "SCALE_COORDINATOR" in wrong.message!!, wrong.message)
    }
}
