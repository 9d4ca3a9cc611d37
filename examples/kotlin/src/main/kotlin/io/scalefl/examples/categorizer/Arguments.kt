package io.scalefl.examples.categorizer

import io.scalefl.sdk.Configuration
import java.io.File

/** Something that the person can mend: its message is for them. */
class Failure(message: String) : Exception(message)

/** A command line that makes no sense. */
class WrongCommandLine(message: String) : Exception(message)

val HELP = """
    Categorizes bank transactions on this device, and learns together with other devices.

    Usage: scale-categorizer [OPTIONS] COMMAND

    Commands:
      enroll TOKEN          exchange an enrollment token for an identity of this device
      import FILE.csv       read a bank statement; lines with a category are learned from
      categorize TEXT       say what a line of a statement probably is
      correct ID LABEL      say what a transaction is; it is learned from in the next round
      join [--rounds N]     take part in N rounds, one if N is not given
           [--any-conditions]  also on a metered network or a low battery
      status                what this device knows, and when it takes part again
      receipts              what taking part has revealed so far, at most

    Options, each also as a variable:
      --folder DIR          where this device keeps its data          (SCALE_FOLDER)
      --coordinator URL     such as https://fl.example.org            (SCALE_COORDINATOR)
      --task NAME           the task to take part in                  (SCALE_TASK)
      --task-key HEX        its key, as the coordinator prints it     (SCALE_TASK_KEY)
      --json                print one JSON document
      --help                print this

    Nothing but masked and noised updates leaves this device.
""".trimIndent()

/** What the person wants. */
class Arguments(
    val folder: File,
    val json: Boolean,
    val anyConditions: Boolean,
    val rounds: Int,
    val command: String,
    val rest: List<String>,
    private val options: Map<String, String?>,
) {
    /** Where the rounds are. The library has a folder of its own. */
    fun configuration() = Configuration(
        coordinator = needed("--coordinator"), folder = File(folder, "scale").path, task = needed("--task"), taskKey = needed("--task-key"),
    )

    private fun needed(option: String): String = options[option]
        ?: throw WrongCommandLine("`$option` is missing; give it, or set ${variable(option)}")

    companion object {
        private val WITH_VALUE = listOf("--folder", "--coordinator", "--task", "--task-key")
        private val COUNTS = mapOf(
            "enroll" to 1, "import" to 1, "categorize" to 1, "correct" to 2, "join" to 0, "status" to 0, "receipts" to 0,
        )

        private fun variable(option: String) = "SCALE_" + option.removePrefix("--").replace('-', '_').uppercase()

        /** Reads the command line; null if the person asked for help. */
        fun read(given: Array<String>, environment: Map<String, String>): Arguments? {
            val options = WITH_VALUE.associateWith { environment[variable(it)]?.takeIf(String::isNotEmpty) }.toMutableMap()
            val words = mutableListOf<String>()
            var json = false
            var anyConditions = false
            var rounds = 1
            val left = given.iterator()
            while (left.hasNext()) {
                val word = left.next()
                val value = { if (left.hasNext()) left.next() else throw WrongCommandLine("`$word` needs a value") }
                when (word) {
                    in WITH_VALUE -> options[word] = value()
                    "--rounds" -> rounds = value().let { text ->
                        text.toIntOrNull()?.takeIf { it > 0 } ?: throw WrongCommandLine("`--rounds $text`: a number from 1 on is needed")
                    }
                    "--json" -> json = true
                    "--any-conditions" -> anyConditions = true
                    "--help", "-h" -> return null
                    else -> if (word.startsWith("--")) throw WrongCommandLine("there is no option `$word`") else words += word
                }
            }
            val command = words.removeFirstOrNull() ?: throw WrongCommandLine("a command is missing: ${COUNTS.keys.joinToString()}")
            val count = COUNTS[command] ?: throw WrongCommandLine("there is no command `$command`, only ${COUNTS.keys.joinToString()}")
            if (words.size != count) throw WrongCommandLine("`$command` takes $count argument(s), not ${words.size}")
            val folder = options["--folder"] ?: throw WrongCommandLine("`--folder` is missing; give it, or set SCALE_FOLDER")
            return Arguments(File(folder), json, anyConditions, rounds, command, words, options)
        }
    }
}
