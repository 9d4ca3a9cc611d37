// Stand-in for expo.modules.kotlin.functions, as in Modules.kt.

@file:Suppress("UNUSED_PARAMETER", "unused")

package expo.modules.kotlin.functions

class AsyncFunctionBuilder(val name: String)

inline infix fun <reified R> AsyncFunctionBuilder.Coroutine(crossinline block: suspend () -> R) {}
inline infix fun <reified R, reified P0> AsyncFunctionBuilder.Coroutine(crossinline block: suspend (P0) -> R) {}
inline infix fun <reified R, reified P0, reified P1> AsyncFunctionBuilder.Coroutine(crossinline block: suspend (P0, P1) -> R) {}
inline infix fun <reified R, reified P0, reified P1, reified P2> AsyncFunctionBuilder.Coroutine(
    crossinline block: suspend (P0, P1, P2) -> R,
) {}
inline infix fun <reified R, reified P0, reified P1, reified P2, reified P3> AsyncFunctionBuilder.Coroutine(
    crossinline block: suspend (P0, P1, P2, P3) -> R,
) {}
