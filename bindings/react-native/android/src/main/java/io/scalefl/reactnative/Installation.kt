package io.scalefl.reactnative

import android.content.Context
import io.scalefl.sdk.ConditionSource
import io.scalefl.sdk.Configuration
import io.scalefl.sdk.NativeClient
import io.scalefl.sdk.SecretVault
import io.scalefl.sdk.android.AndroidConditions
import io.scalefl.sdk.android.KeystoreVault
import java.io.File

/** A configuration with what belongs to it on this phone. */
internal class Installation private constructor(
    val configuration: Configuration,
    val vault: SecretVault,
    val conditions: ConditionSource,
) {
    fun open() = NativeClient(configuration, vault, conditions)

    companion object {
        /** `named`: its `folder` is the installation's name. No backup copies what is stored. */
        fun of(context: Context, named: Configuration): Installation {
            val folder = File(context.noBackupFilesDir, "scale-fl/installations/${named.folder}")
            val configuration = named.copy(folder = folder.path)
            return Installation(configuration, KeystoreVault(context, named.folder), AndroidConditions(context))
        }
    }
}
