// Stand-in for expo.modules.kotlin, as in Modules.kt.

package expo.modules.kotlin

import android.content.Context

class AppContext {
    val reactContext: Context? get() = throw UnsupportedOperationException("stand-in")
}
