package io.scalefl.sdk.support

import io.scalefl.sdk.SecretVault
import java.util.concurrent.ConcurrentHashMap

/** A vault of the app that lasts as long as the test. */
class MemoryVault : SecretVault {
    val entries = ConcurrentHashMap<String, ByteArray>()

    override fun get(name: String): ByteArray? = entries[name]

    override fun putNew(name: String, bytes: ByteArray): Boolean = entries.putIfAbsent(name, bytes) == null

    override fun put(name: String, bytes: ByteArray) {
        entries[name] = bytes
    }

    override fun delete(name: String) {
        entries.remove(name)
    }
}
