package io.scalefl.sdk.support

import io.scalefl.sdk.GuardedListener
import io.scalefl.sdk.OnCancellation
import io.scalefl.sdk.Outcome
import io.scalefl.sdk.Progress
import io.scalefl.sdk.ScaleClient
import io.scalefl.sdk.runOptions
import io.scalefl.sdk.stoppable
import kotlin.time.Duration

/** What the testing trainer does: it adds [by] to the first weight, in [steps] steps of [stepMs]. */
data class Move(val by: Float, val steps: Int = 1, val stepMs: Int = 0)

/** [ScaleClient.participate] with the testing trainer; the rest of the way is the same. */
suspend fun ScaleClient.move(
    move: Move,
    budget: Duration? = null,
    onCancellation: OnCancellation = OnCancellation.LEAVE,
    onProgress: (Progress) -> Unit = {},
): Outcome = stoppable(onCancellation) { stop ->
    val options = runOptions(budget, null, false)
    open().testingParticipate(move.by, move.steps.toUInt(), move.stepMs.toULong(), options, stop, GuardedListener(onProgress))
}
