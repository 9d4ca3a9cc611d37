package io.scalefl.sdk

/*
 * What the library calls in the app. An exception that the library does not know crosses into it with its whole stack trace
 * as text, and the message of one may hold what a person wrote: so nothing but the exception's class gets through.
 */

private inline fun <T> guarded(what: String, call: () -> T): T = try {
    call()
} catch (failed: CallbackException) {
    throw failed
} catch (failed: Throwable) {
    throw CallbackException.Failed("the app's $what threw ${failed.javaClass.name}")
}

internal class GuardedVault(private val vault: SecretVault) : SecretVault {
    override fun get(name: String): ByteArray? = guarded("vault") { vault.get(name) }
    override fun putNew(name: String, bytes: ByteArray): Boolean = guarded("vault") { vault.putNew(name, bytes) }
    override fun put(name: String, bytes: ByteArray): Unit = guarded("vault") { vault.put(name, bytes) }
    override fun delete(name: String): Unit = guarded("vault") { vault.delete(name) }
}

internal class GuardedConditions(private val source: ConditionSource) : ConditionSource {
    override fun current(): Conditions = guarded("condition source") { source.current() }
}

internal class GuardedListener(private val listener: (Progress) -> Unit) : ProgressListener {
    override fun onProgress(progress: Progress): Unit = guarded("progress listener") { listener(progress) }
}

internal class GuardedSink(private val sink: (LogLevel, String) -> Unit) : LogSink {
    override fun log(level: LogLevel, message: String): Unit = guarded("log sink") { sink(level, message) }
}
