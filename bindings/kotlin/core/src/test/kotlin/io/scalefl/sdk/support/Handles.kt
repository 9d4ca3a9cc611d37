package io.scalefl.sdk

/** Objects of this process that the library holds: vaults, condition sources, listeners, log sinks, and calls that wait. */
internal fun heldByTheLibrary(): Map<String, Int> = mapOf(
    "vaults" to FfiConverterTypeSecretVault.handleMap.size,
    "condition sources" to FfiConverterTypeConditionSource.handleMap.size,
    "listeners" to FfiConverterTypeProgressListener.handleMap.size,
    "log sinks" to FfiConverterTypeLogSink.handleMap.size,
    "calls" to uniffiContinuationHandleMap.size,
)
