package io.scalefl.sdk

import io.scalefl.sdk.support.Json
import io.scalefl.sdk.support.Scene
import io.scalefl.sdk.support.TASK
import java.io.File
import java.util.concurrent.TimeUnit
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/** Whole programs that use the published library: the quick start of the README, and the example. */
class ProgramsTest {
    private class Ended(val code: Int, val out: String, val err: String)

    /** Runs a program with the class path that this variable holds. */
    private fun run(scene: Scene, classpath: String, main: String, arguments: List<String>, variables: Map<String, String>): Ended {
        val path = checkNotNull(System.getenv(classpath)) { "$classpath is not set; `cargo xtask bindings --kotlin --test` sets it" }
        val java = File(System.getProperty("java.home"), "bin/java").path
        val jvm = listOf(java, "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", path)
        val builder = ProcessBuilder(jvm + main + arguments)
        builder.environment() += mapOf("SCALE_COORDINATOR" to scene.url, "SCALE_TASK" to TASK, "SCALE_TASK_KEY" to scene.taskKey) + variables
        val (out, err) = listOf("out", "err").map { File.createTempFile(it, ".txt", scene.folder) }
        val process = builder.redirectOutput(out).redirectError(err).start()
        assertTrue(process.waitFor(180, TimeUnit.SECONDS), "$main $arguments does not end: ${out.readText()}")
        return Ended(process.exitValue(), out.readText(), err.readText())
    }

    @Test
    fun `the quick start of the README runs`() {
        Scene(task = arrayOf("devices" to 12, "grace_ms" to 2_000)).use { scene ->
            scene.world.tell("crowd", "task" to TASK, "count" to 12)
            // The program takes part once; the others may be in a round just then.
            for (attempt in 1..10) {
                val folder = scene.newFolder().path
                val variables = mapOf("SCALE_FOLDER" to folder, "SCALE_TOKEN" to scene.token())
                val ended = run(scene, "SCALE_QUICK_START", "QuickStartKt", listOf(), variables)
                assertEquals(0, ended.code, ended.out + ended.err)
                assertTrue("again: After" in ended.out, ended.out)
                assertEquals(3, ended.out.trim().lines().takeLastWhile { it.matches(Regex("\\w+ [0-9.E-]+")) }.size, ended.out)
                if ("contributed: " in ended.out) return
                assertTrue(attempt < 10, ended.out)
            }
        }
    }

    @Test
    fun `the example is a whole device`() {
        Scene(task = arrayOf("devices" to 12, "grace_ms" to 2_000)).use { scene ->
            val folder = scene.newFolder()
            val main = "io.scalefl.examples.categorizer.MainKt"
            fun run(vararg arguments: String) =
                run(scene, "SCALE_EXAMPLE", main, arguments.toList(), mapOf("SCALE_FOLDER" to folder.path))

            fun good(vararg arguments: String): String {
                val ended = run(*arguments)
                assertEquals(0, ended.code, "${arguments.toList()}: ${ended.err}")
                return ended.out.trim()
            }
            assertTrue("enroll TOKEN" in good("--help"))
            assertTrue("enrolled: no" in good("status"))
            val early = run("join")
            assertEquals(1, early.code)
            assertTrue("enroll" in early.err, early.err)
            assertTrue("enrolled as" in good("enroll", scene.token()))

            val statement = checkNotNull(System.getenv("SCALE_STATEMENT"))
            val imported = good("import", statement).lines()
            assertTrue(imported.last().matches(Regex("(\\d+) transactions, \\1 of them new; 0 examples to learn from")), imported.last())
            val food = imported.first { "REWE" in it }.substringBefore(' ')
            assertTrue("is groceries now" in good("correct", food, "groceries"))
            assertTrue(" 0 of them new; 1 examples" in good("import", statement))
            val wrong = run("correct", "no such id", "groceries")
            assertTrue(wrong.code == 1 && "no such id" in wrong.err, wrong.err)

            scene.world.tell("crowd", "task" to TASK, "count" to 12)
            val joined = good("join", "--rounds", "1", "--any-conditions")
            assertTrue(Regex("round \\d+: contributed; .+").containsMatchIn(joined), joined)
            val top = (Json.read(good("--json", "categorize", "REWE 17")) as Map<*, *>)["top"] as List<*>
            assertEquals(3, top.size)
            assertTrue("%" in good("categorize", "REWE 17"))
            assertEquals(1, ((Json.read(good("--json", "receipts")) as Map<*, *>)["receipts"] as List<*>).size)
            assertTrue("model: version" in good("status"))
        }
    }
}
