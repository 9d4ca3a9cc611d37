package io.scalefl.sdk.android

import android.content.Context
import android.security.keystore.KeyGenParameterSpec
import android.security.keystore.KeyProperties
import io.scalefl.sdk.CallbackException
import io.scalefl.sdk.SecretVault
import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.security.GeneralSecurityException
import java.security.KeyStore
import javax.crypto.Cipher
import javax.crypto.KeyGenerator
import javax.crypto.SecretKey
import javax.crypto.spec.GCMParameterSpec

/**
 * Keeps the secrets of an installation in files that a key of the Android keystore seals (AES-256-GCM). The key never leaves
 * the keystore, and works while the screen is locked: rounds run then.
 *
 * The files lie in the folder that no backup copies. A restored or cloned phone therefore is a new device, and no two phones
 * share an identity.
 *
 * @param context of the app.
 * @param name keeps vaults in one app apart: use another one for every folder of a configuration.
 */
class KeystoreVault(context: Context, private val name: String = "default") : SecretVault {
    private val folder = File(context.noBackupFilesDir, "scale-fl/vault/$name")

    /** Reads an entry; null if there is none. */
    override fun get(name: String): ByteArray? = told("read") {
        val file = file(name)
        if (file.exists()) open(name, file.readBytes()) else null
    }

    /** Writes an entry unless there is one; false if there was. Of two that try at once, one gets true. */
    override fun putNew(name: String, bytes: ByteArray): Boolean = told("write") {
        val file = file(name)
        synchronized(LOCK) {
            // The content comes first and the name last: an entry is never half there, not even after a power cut.
            if (file.exists()) return@told false
            val written = write(name, bytes)
            // Another process of the app may have been faster: creating a file is the one step that only one can win.
            val claim = File(folder, "${file.name}.claim")
            if (!claim.createNewFile()) {
                written.delete()
                // A claim without an entry is what a process left that was killed between the two steps.
                if (file.exists()) return@told false
                claim.delete()
                throw IOException("another process was writing `$name`")
            }
            try {
                if (file.exists()) return@told false
                rename(written, file)
                true
            } finally {
                written.delete()
                claim.delete()
            }
        }
    }

    /** Writes an entry, also over an old one. */
    override fun put(name: String, bytes: ByteArray): Unit = told("write") {
        synchronized(LOCK) { rename(write(name, bytes), file(name)) }
    }

    /** Deletes an entry, if there is one. */
    override fun delete(name: String): Unit = told("delete") {
        val file = file(name)
        if (!file.delete() && file.exists()) throw IOException("the file stays")
    }

    /** Hex, because a name may hold what a file's name may not. */
    private fun file(name: String) = File(folder, name.encodeToByteArray().joinToString("") { "%02x".format(it) })

    private fun write(name: String, bytes: ByteArray): File {
        if (!folder.isDirectory && !folder.mkdirs() && !folder.isDirectory) throw IOException("the folder cannot be made")
        val sealed = seal(name, bytes)
        val file = File.createTempFile("new", ".tmp", folder)
        FileOutputStream(file).use { stream ->
            stream.write(sealed)
            stream.fd.sync()
        }
        return file
    }

    private fun rename(from: File, to: File) {
        if (!from.renameTo(to)) {
            from.delete()
            throw IOException("the file cannot be renamed")
        }
    }

    private fun seal(entry: String, bytes: ByteArray): ByteArray {
        val cipher = Cipher.getInstance(CIPHER)
        cipher.init(Cipher.ENCRYPT_MODE, key())
        // Sealed to its entry: two files that were swapped do not open.
        cipher.updateAAD(entry.encodeToByteArray())
        return byteArrayOf(FORMAT) + cipher.iv + cipher.doFinal(bytes)
    }

    private fun open(entry: String, sealed: ByteArray): ByteArray {
        if (sealed.size < 1 + NONCE_BYTES || sealed[0] != FORMAT) throw IOException("the file is damaged")
        val cipher = Cipher.getInstance(CIPHER)
        cipher.init(Cipher.DECRYPT_MODE, key(), GCMParameterSpec(TAG_BITS, sealed, 1, NONCE_BYTES))
        cipher.updateAAD(entry.encodeToByteArray())
        return cipher.doFinal(sealed, 1 + NONCE_BYTES, sealed.size - 1 - NONCE_BYTES)
    }

    private fun key(): SecretKey = synchronized(LOCK) {
        val keystore = KeyStore.getInstance(KEYSTORE).apply { load(null) }
        val alias = "scale-fl.$name"
        (keystore.getKey(alias, null) as SecretKey?)?.let { return it }
        val purposes = KeyProperties.PURPOSE_ENCRYPT or KeyProperties.PURPOSE_DECRYPT
        val wanted = KeyGenParameterSpec.Builder(alias, purposes)
            .setBlockModes(KeyProperties.BLOCK_MODE_GCM)
            .setEncryptionPaddings(KeyProperties.ENCRYPTION_PADDING_NONE)
            .setKeySize(KEY_BITS)
            // Rounds run in the background, with nobody there who could unlock anything.
            .setUserAuthenticationRequired(false)
            .build()
        KeyGenerator.getInstance(KeyProperties.KEY_ALGORITHM_AES, KEYSTORE).run {
            init(wanted)
            generateKey()
        }
    }

    /** Nothing but what failed gets out: an exception of the keystore may name anything. */
    private inline fun <T> told(what: String, work: () -> T): T = try {
        work()
    } catch (failed: IOException) {
        throw CallbackException.Failed("the vault could not $what an entry: ${failed.javaClass.name}")
    } catch (failed: GeneralSecurityException) {
        throw CallbackException.Failed("the Android keystore could not $what an entry: ${failed.javaClass.name}")
    }

    private companion object {
        const val KEYSTORE = "AndroidKeyStore"
        const val CIPHER = "AES/GCM/NoPadding"
        const val KEY_BITS = 256
        const val TAG_BITS = 128
        const val NONCE_BYTES = 12
        const val FORMAT: Byte = 1

        /** All vaults of the process: a key is made once. */
        val LOCK = Any()
    }
}
