package io.scalefl.sdk

import kotlinx.coroutines.channels.BufferOverflow
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.channelFlow

/** What [ScaleClient.round] emits. */
sealed interface RoundEvent {
    /** The round goes on. */
    data class Working(val progress: Progress) : RoundEvent

    /** The participation is over: the last event. */
    data class Ended(val outcome: Outcome) : RoundEvent
}

/** The events of one participation. */
internal fun roundEvents(take: suspend (onProgress: (Progress) -> Unit) -> Outcome): Flow<RoundEvent> = channelFlow {
    val outcome = take { progress -> trySend(RoundEvent.Working(progress)) }
    send(RoundEvent.Ended(outcome))
}.buffer(BUFFERED_EVENTS, BufferOverflow.DROP_OLDEST)

/** Events come four times a second: this is some seconds of them. */
private const val BUFFERED_EVENTS = 16
