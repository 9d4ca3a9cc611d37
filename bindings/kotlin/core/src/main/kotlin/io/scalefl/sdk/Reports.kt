package io.scalefl.sdk

/** The report as JSON, in the shape of all SDKs: what a server or a web page can read. */
fun PrivacyReport.toJson(): String = privacyReportToJson(this)

/** The outcome as JSON, in the shape of all SDKs. */
fun Outcome.toJson(): String = outcomeToJson(this)

/** The progress as JSON, in the shape of all SDKs. */
fun Progress.toJson(): String = progressToJson(this)

/** The status as JSON, in the shape of all SDKs. */
fun Status.toJson(): String = statusToJson(this)
