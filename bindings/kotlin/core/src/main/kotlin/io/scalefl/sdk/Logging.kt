package io.scalefl.sdk

/**
 * What the library writes about its work, for the whole process. No line holds an example, a token or a key. Unless the app
 * asks for it, nothing is written.
 */
object ScaleLog {
    /**
     * Hands every line of this level and of the graver ones to [sink], on a thread of the library. What it throws disturbs
     * nothing. A later call replaces the sink.
     */
    fun send(level: LogLevel = LogLevel.INFO, sink: (level: LogLevel, message: String) -> Unit) {
        setLogSink(GuardedSink(sink), level)
    }

    /** Ends the log. */
    fun silence() {
        setLogSink(null, LogLevel.ERROR)
    }
}
