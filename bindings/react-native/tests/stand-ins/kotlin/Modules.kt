// Stand-in for expo.modules.kotlin.modules: the declarations that the module uses, as expo-modules-core 58.1.0 has them.
// Nothing here does anything.

@file:Suppress("FunctionName", "UNUSED_PARAMETER", "unused")

package expo.modules.kotlin.modules

import expo.modules.kotlin.AppContext
import expo.modules.kotlin.functions.AsyncFunctionBuilder

abstract class Module {
    val appContext: AppContext get() = throw UnsupportedOperationException("stand-in")
    fun sendEvent(name: String, body: Map<String, Any?>) {}
    abstract fun definition(): ModuleDefinitionData
}

class ModuleDefinitionData

class ModuleDefinitionBuilder(val module: Module?) {
    fun Name(name: String) {}
    fun Events(vararg events: String) {}
    inline fun OnCreate(crossinline body: () -> Unit) {}
    inline fun OnDestroy(crossinline body: () -> Unit) {}
    @JvmName("FunctionWithoutArgs")
    inline fun Function(name: String, crossinline body: () -> Any?) {}
    inline fun <reified R> Function(name: String, crossinline body: () -> R) {}
    inline fun <reified R, reified P0> Function(name: String, crossinline body: (p0: P0) -> R) {}
    fun AsyncFunction(name: String) = AsyncFunctionBuilder(name)
}

inline fun Module.ModuleDefinition(crossinline block: ModuleDefinitionBuilder.() -> Unit): ModuleDefinitionData {
    ModuleDefinitionBuilder(this).block()
    return ModuleDefinitionData()
}
