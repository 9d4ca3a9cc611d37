package io.scalefl.reactnative

import android.content.Context
import expo.modules.kotlin.functions.Coroutine
import expo.modules.kotlin.modules.Module
import expo.modules.kotlin.modules.ModuleDefinition

/** What JavaScript calls on Android: [Clients] and [Background], with the app's own storage. */
class ScaleFLModule : Module() {
    private val context: Context
        get() = requireNotNull(appContext.reactContext) { "React Native has no Android context any more" }.applicationContext

    private val clients = Clients(
        open = { Installation.of(context, it).open() },
        onProgress = { call, progress -> sendEvent("progress", mapOf("call" to call, "progress" to progress)) },
    )

    private val roundEnded: () -> Unit = { sendEvent("status", emptyMap<String, Any?>()) }

    override fun definition() = ModuleDefinition {
        Name("ScaleFL")
        Events("progress", "status")

        OnCreate { Background.listeners += roundEnded }
        OnDestroy {
            Background.listeners -= roundEnded
            clients.end()
        }

        AsyncFunction("create") Coroutine { configuration: String -> clients.create(configuration) }
        Function("announce") { clients.announce() }
        AsyncFunction("call") Coroutine { client: Int, call: Int, method: String, args: List<String> ->
            clients.call(client, call, method, args)
        }
        Function("stop") { call: Int -> clients.stop(call) }

        AsyncFunction("enableBackground") Coroutine { configuration: String ->
            answered { "null".also { Background.enable(context, configuration) } }
        }
        AsyncFunction("resumeBackground") Coroutine { configuration: String ->
            answered { "null".also { Background.resume(context, configuration) } }
        }
        AsyncFunction("disableBackground") Coroutine { -> answered { "null".also { Background.disable(context) } } }
        AsyncFunction("backgroundEnabled") Coroutine { -> answered { Background.isEnabled(context).toString() } }
    }
}
