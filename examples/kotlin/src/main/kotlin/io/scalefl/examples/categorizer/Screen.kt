package io.scalefl.examples.categorizer

import io.scalefl.sdk.Progress

/** What the person sees: answers on stdout, as text or as JSON; progress on one line of the terminal. */
class Screen(private val json: Boolean) {
    private val terminal = !json && System.console() != null
    private var shown = 0

    /** Prints one of the two. */
    fun answer(asJson: () -> String, asText: () -> String) = println(if (json) asJson() else asText())

    /** Called on a thread of the library. */
    @Synchronized
    fun progress(progress: Progress) {
        if (!terminal) return
        val line = "%3d %%  %s".format((progress.permille / 10u).toInt(), progress.sentence).take(COLUMNS)
        System.err.print("\r" + line.padEnd(shown))
        shown = line.length
    }

    /** Takes the progress away: another line follows. */
    @Synchronized
    fun clear() {
        if (shown > 0) System.err.print("\r" + " ".repeat(shown) + "\r")
        shown = 0
    }

    private companion object {
        const val COLUMNS = 100
    }
}

/** A text as JSON. */
fun quoted(text: String): String = buildString {
    append('"')
    for (char in text) {
        when {
            char == '"' || char == '\\' -> append('\\').append(char)
            char < ' ' -> append("\\u%04x".format(char.code))
            else -> append(char)
        }
    }
    append('"')
}
