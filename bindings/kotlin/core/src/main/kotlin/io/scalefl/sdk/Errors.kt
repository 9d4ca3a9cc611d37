package io.scalefl.sdk

import java.nio.charset.CharacterCodingException

/** What an app can do about a [ScaleException], roughly. The words are those of the other SDKs. */
enum class ErrorKind(
    /** The word that stands in logs and in JSON. */
    val word: String,
) {
    /** The configuration is wrong: the app must be changed. */
    CONFIGURATION("configuration"),

    /** The call makes no sense now, or its arguments do not. */
    USAGE("usage"),

    /** The coordinator cannot be reached: try again later. */
    NETWORK("network"),

    /** The coordinator has refused. */
    REFUSED("refused"),

    /** The device's storage has failed, or is full. */
    STORAGE("storage"),

    /** The privacy ledger is locked, or its budget is used up. */
    PRIVACY_LEDGER("privacy_ledger"),

    /** A model is damaged, or this version of the library cannot use it. */
    MODEL("model"),

    /** The call was stopped. */
    CANCELLED("cancelled"),

    /** A mistake of the library, which goes on working: please report it. */
    INTERNAL("internal"),
}

/** The kind of this failure. */
val ScaleException.kind: ErrorKind
    get() = when (this) {
        is ScaleException.Configuration -> ErrorKind.CONFIGURATION
        is ScaleException.Usage -> ErrorKind.USAGE
        is ScaleException.Network -> ErrorKind.NETWORK
        is ScaleException.Refused -> ErrorKind.REFUSED
        is ScaleException.Storage -> ErrorKind.STORAGE
        is ScaleException.PrivacyLedger -> ErrorKind.PRIVACY_LEDGER
        is ScaleException.Model -> ErrorKind.MODEL
        is ScaleException.Cancelled -> ErrorKind.CANCELLED
        is ScaleException.Internal -> ErrorKind.INTERNAL
    }

/** Stable code of the cause, for programs. */
val ScaleException.code: String
    get() = parts().first

/** What was wrong, where, and what to do, for people. */
val ScaleException.sentence: String
    get() = parts().second

private fun ScaleException.parts(): Pair<String, String> = when (this) {
    is ScaleException.Configuration -> code to sentence
    is ScaleException.Usage -> code to sentence
    is ScaleException.Network -> code to sentence
    is ScaleException.Refused -> code to sentence
    is ScaleException.Storage -> code to sentence
    is ScaleException.PrivacyLedger -> code to sentence
    is ScaleException.Model -> code to sentence
    is ScaleException.Cancelled -> code to sentence
    is ScaleException.Internal -> code to sentence
}

/**
 * Makes a native call all of whose faults become a [ScaleException]: panics of calls that do not suspend arrive as another
 * class, and so does a text that cannot be handed over.
 */
internal inline fun <T> faultsTold(call: () -> T): T = try {
    call()
} catch (fault: InternalException) {
    throw ScaleException.Internal("panic", "a fault of the library, please report it: ${fault.message}")
} catch (fault: CharacterCodingException) {
    // Kotlin's texts may hold what UTF-8 cannot, for example an emoji that was cut in two.
    throw ScaleException.Usage("bad_argument", "a text is not valid Unicode: it has half of a surrogate pair")
}
