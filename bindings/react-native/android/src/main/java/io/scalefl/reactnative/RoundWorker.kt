package io.scalefl.reactnative

import android.content.Context
import androidx.work.WorkerParameters
import io.scalefl.sdk.Outcome
import io.scalefl.sdk.ScaleClient
import io.scalefl.sdk.ScaleException
import io.scalefl.sdk.android.ScaleWorker
import io.scalefl.sdk.configurationFromJson
import java.io.File
import java.io.IOException
import java.util.concurrent.CopyOnWriteArraySet

/** Takes part in rounds while no JavaScript runs. */
class RoundWorker(context: Context, parameters: WorkerParameters) : ScaleWorker(context, parameters) {
    override fun createClient(): ScaleClient {
        val configuration = Background.configuration(applicationContext)
            ?: throw ScaleException.Usage("background_disabled", "rounds in the background were disabled")
        val installation = Installation.of(applicationContext, configurationFromJson(configuration))
        return ScaleClient(installation.configuration, installation.vault, installation.conditions)
    }

    override suspend fun onOutcome(outcome: Outcome) = Background.tell()

    override suspend fun onFailure(failure: ScaleException) = Background.tell()
}

/** Whether rounds run in the background, and in which installation. */
internal object Background {
    /** Hear of the end of every round in the background. */
    val listeners = CopyOnWriteArraySet<() -> Unit>()

    fun tell() = listeners.forEach { it() }

    /** `configuration`: JSON, whose `folder` is a name. It holds no secret. */
    fun enable(context: Context, configuration: String) {
        // Checked here: a worker has nobody to tell.
        configurationFromJson(configuration)
        try {
            write(file(context), configuration)
        } catch (failed: IOException) {
            val sentence = "rounds in the background could not be enabled (${failed.message}): is the phone's storage full?"
            throw ScaleException.Storage("background", sentence)
        }
        ScaleWorker.start(context, RoundWorker::class.java)
    }

    /** The same, if they are enabled for the installation of this name. */
    fun resume(context: Context, configuration: String) {
        val enabled = configuration(context) ?: return
        if (configurationFromJson(enabled).folder == configurationFromJson(configuration).folder) enable(context, configuration)
    }

    fun disable(context: Context) {
        file(context).delete()
        ScaleWorker.stop(context)
    }

    fun isEnabled(context: Context) = file(context).exists()

    fun configuration(context: Context): String? = file(context).takeIf(File::exists)?.readText()

    /** A worker that reads it meanwhile reads all or nothing of it. */
    private fun write(file: File, text: String) {
        file.parentFile?.mkdirs()
        val written = File(file.path + ".new")
        written.writeText(text)
        if (!written.renameTo(file)) throw IOException("${file.path} cannot be written")
    }

    private fun file(context: Context) = File(context.noBackupFilesDir, "scale-fl/background.json")
}
