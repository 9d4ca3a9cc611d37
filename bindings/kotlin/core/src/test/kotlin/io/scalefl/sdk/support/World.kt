package io.scalefl.sdk.support

import java.io.File
import java.util.concurrent.TimeUnit

/** The other side: a coordinator and native devices, in a process that takes orders (tests/src/world). */
class World : AutoCloseable {
    private val said = StringBuffer()
    private val process = ProcessBuilder(path()).start()
    private val input = process.outputWriter()
    private val output = process.inputReader()
    private var last = 0

    init {
        Thread { process.errorReader().forEachLine { line -> said.append(line).append('\n') } }.apply { isDaemon = true }.start()
    }

    /** Gives one order, and returns what it answers. */
    @Synchronized
    fun tell(what: String, vararg fields: Pair<String, Any?>): Map<*, *> {
        val id = ++last
        input.write(Json.write(mapOf("id" to id, "do" to what) + fields) + "\n")
        input.flush()
        val line = output.readLine() ?: error("the world ended at $what: $said")
        val answer = Json.read(line) as Map<*, *>
        check(answer["id"] == id.toDouble()) { "an answer to another order than $what: $line" }
        return answer["told"] as Map<*, *>? ?: error("the world could not $what: ${answer["error"]}")
    }

    /** Waits until the round with this number is over, and returns it. */
    fun closed(task: String, number: ULong, patience: Long = 60_000): Map<*, *> {
        val end = System.currentTimeMillis() + patience
        while (true) {
            val told = tell("rounds", "task" to task)
            val round = (told["rounds"] as List<*>).map { it as Map<*, *> }.find { it["number"] == number.toDouble() }
            if (round?.get("phase") in listOf("finished", "abandoned")) return round!!
            check(System.currentTimeMillis() < end) { "round $number stays open: $told" }
            Thread.sleep(50)
        }
    }

    /** What a finished round has published beyond the native devices' inputs: pairs of an index and an integer. */
    fun beyondNatives(task: String, number: ULong, weights: List<Int>): List<Pair<Long, Long>> {
        val round = closed(task, number)
        check(round["phase"] == "finished") {
            "round $number was abandoned: ${round["reason"]} ${tell("rounds", "task" to task)["troubles"]}"
        }
        // The native devices hear of the end a moment later.
        for (patience in 100 downTo 0) {
            try {
                val told = tell("sum", "task" to task, "number" to number.toLong(), "apps" to weights)
                return (told["beyond"] as List<*>).map { pair ->
                    val (index, integer) = (pair as List<*>).map { (it as Double).toLong() }
                    index to integer
                }
            } catch (failed: IllegalStateException) {
                if (patience == 0 || "not in this round" !in failed.message.orEmpty()) throw failed
                Thread.sleep(50)
            }
        }
        error("unreachable")
    }

    override fun close() {
        input.close()
        if (!process.waitFor(20, TimeUnit.SECONDS)) process.destroyForcibly()
    }

    private companion object {
        fun path(): String {
            val path = checkNotNull(System.getenv("SCALE_WORLD")) {
                "SCALE_WORLD names the program world-under-test; `cargo xtask bindings --kotlin --test` sets it"
            }
            check(File(path).canExecute()) { "$path is no program: cargo build -p scale-tests" }
            return path
        }
    }
}
