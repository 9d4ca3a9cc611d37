package io.scalefl.examples.categorizer

import io.scalefl.sdk.ScaleClient
import io.scalefl.sdk.ScaleException
import io.scalefl.sdk.sentence
import kotlin.system.exitProcess
import kotlinx.coroutines.runBlocking

/** The transaction categorizer: a whole device on the command line. */
fun main(given: Array<String>) {
    val arguments = try {
        Arguments.read(given, System.getenv())
    } catch (wrong: WrongCommandLine) {
        System.err.println("scale-categorizer: ${wrong.message}; see --help")
        exitProcess(2)
    }
    if (arguments == null) {
        println(HELP)
        return
    }
    exitProcess(run(arguments))
}

private fun run(arguments: Arguments): Int {
    val screen = Screen(arguments.json)
    try {
        runBlocking {
            val client = ScaleClient(arguments.configuration())
            try {
                Commands(arguments, client, screen).run()
            } finally {
                client.shutdown()
            }
        }
        return 0
    } catch (wrong: WrongCommandLine) {
        System.err.println("scale-categorizer: ${wrong.message}; see --help")
        return 2
    } catch (failed: Failure) {
        screen.clear()
        System.err.println("scale-categorizer: ${failed.message}")
    } catch (failed: ScaleException) {
        screen.clear()
        System.err.println("scale-categorizer: ${failed.sentence}")
    }
    return 1
}
