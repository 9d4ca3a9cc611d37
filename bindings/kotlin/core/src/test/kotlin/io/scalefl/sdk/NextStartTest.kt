package io.scalefl.sdk

import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.minutes
import kotlin.time.Duration.Companion.seconds
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test

/** When a worker in the background takes part again. */
class NextStartTest {
    private val now = 1_800_000_000_000L
    private fun at(ms: Long) = (now + ms).toULong()

    @Test
    fun `outcomes say when to come again`() {
        val outcomes = listOf(
            Outcome.Contributed("r", 1u, 1u, null) to NextStart.After(1.hours),
            Outcome.Paused(90_000u, 600_000u, Phase.SHARES) to NextStart.After(90.seconds, 10.minutes),
            Outcome.Waited(at(5_000), "no_round", "later") to NextStart.After(5.seconds),
            Outcome.Left("r", "cancelled", "left", at(61_000)) to NextStart.After(61.seconds),
            Outcome.EnrollmentNeeded("not_enrolled", "enroll") to NextStart.AfterEnrollment,
            // The time has come already, or a clock is wrong.
            Outcome.Waited(at(-5_000), "no_round", "later") to NextStart.After(Duration.ZERO),
            Outcome.Waited(ULong.MAX_VALUE, "no_round", "later") to NextStart.After(24.hours),
            Outcome.Paused(0u, ULong.MAX_VALUE, Phase.KEYS) to NextStart.After(Duration.ZERO, Long.MAX_VALUE.milliseconds),
        )
        for ((outcome, next) in outcomes) assertEquals(next, outcome.nextStart(now), "$outcome")
    }

    @Test
    fun `failures say whether to come again`() {
        val failures = listOf(
            ScaleException.Refused("busy", "later", 30_000u) to NextStart.After(30.seconds),
            ScaleException.Refused("busy", "later", null) to NextStart.After(15.minutes),
            ScaleException.Network("unreachable", "no network") to NextStart.After(15.minutes),
            ScaleException.Storage("full", "no room") to NextStart.After(15.minutes),
            ScaleException.Internal("panic", "a mistake") to NextStart.After(15.minutes),
            ScaleException.PrivacyLedger("locked", "ledger") to NextStart.Never,
            ScaleException.Configuration("bad_option", "wrong") to NextStart.Never,
            ScaleException.Usage("bad_argument", "wrong") to NextStart.Never,
            // The open app is in a round, or has the folder: the worker must come back.
            ScaleException.Usage("already_running", "running") to NextStart.After(15.minutes),
            ScaleException.Usage("ledger_in_use", "in use") to NextStart.After(15.minutes),
            ScaleException.Usage("folder_in_use", "in use") to NextStart.After(15.minutes),
            ScaleException.Usage("closed", "closed") to NextStart.After(15.minutes),
        )
        for ((failure, next) in failures) assertEquals(next, failure.nextStart(), "$failure")
    }
}
