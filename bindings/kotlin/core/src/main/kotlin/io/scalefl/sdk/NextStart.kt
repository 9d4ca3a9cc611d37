package io.scalefl.sdk

import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.minutes

/** When to take part again. */
sealed interface NextStart {
    /**
     * After [delay].
     *
     * @property latest after this time the round that is paused is lost for this device; null if none is.
     */
    data class After(val delay: Duration, val latest: Duration? = null) : NextStart

    /** After [ScaleClient.enroll] with a fresh token. */
    data object AfterEnrollment : NextStart

    /** Not before the app was changed: the same call fails again. */
    data object Never : NextStart
}

/**
 * When to take part again after this outcome.
 *
 * @param now Unix time in milliseconds.
 */
fun Outcome.nextStart(now: Long = System.currentTimeMillis()): NextStart = when (this) {
    // The coordinator has the last word: it answers a device that comes too early with the time at which to come.
    is Outcome.Contributed -> NextStart.After(AFTER_CONTRIBUTION)
    is Outcome.Paused -> NextStart.After(resumeAfterMs.asDuration(), resumeBeforeMs.asDuration())
    is Outcome.Waited -> NextStart.After(until.since(now))
    is Outcome.Left -> NextStart.After(until.since(now))
    is Outcome.EnrollmentNeeded -> NextStart.AfterEnrollment
}

/** When to take part again after a participation that failed. */
fun ScaleException.nextStart(): NextStart = when (this) {
    is ScaleException.Refused -> NextStart.After(retryAfterMs?.asDuration() ?: AFTER_FAILURE)
    is ScaleException.Network, is ScaleException.Storage, is ScaleException.Model, is ScaleException.Cancelled,
    is ScaleException.Internal,
    -> NextStart.After(AFTER_FAILURE)
    // Another part of the app is at work, for example the open app in a round: that passes.
    is ScaleException.Usage -> if (code in PASSING) NextStart.After(AFTER_FAILURE) else NextStart.Never
    // The ledger is locked until the person has it replaced; the other is a mistake in the app.
    is ScaleException.PrivacyLedger, is ScaleException.Configuration -> NextStart.Never
}

private val AFTER_CONTRIBUTION = 1.hours
private val AFTER_FAILURE = 15.minutes

/** Codes of usage that is wrong only now. */
private val PASSING = setOf("already_running", "ledger_in_use", "folder_in_use", "closed")

/** A clock that was set wrong must not keep a device away for ever: no wait is longer than this. */
private val LONGEST = 24.hours

private fun ULong.asDuration(): Duration = coerceAtMost(Long.MAX_VALUE.toULong()).toLong().milliseconds

private fun ULong.since(now: Long): Duration = (asDuration() - now.milliseconds).coerceIn(Duration.ZERO, LONGEST)
