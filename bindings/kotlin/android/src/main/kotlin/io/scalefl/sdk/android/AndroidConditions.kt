package io.scalefl.sdk.android

import android.content.Context
import android.content.Intent
import android.content.IntentFilter
import android.net.ConnectivityManager
import android.net.NetworkCapabilities
import android.os.BatteryManager
import android.os.PowerManager
import io.scalefl.sdk.ConditionSource
import io.scalefl.sdk.Conditions

/**
 * What Android says about the device: network, power, whether it is in use, and its battery saver. It asks each time, and
 * registers nothing. Needs `ACCESS_NETWORK_STATE`, which the library's manifest asks for.
 */
class AndroidConditions(context: Context) : ConditionSource {
    private val context = context.applicationContext

    /** The state of this moment. What Android does not say is null. */
    override fun current(): Conditions {
        val network = network()
        val battery = context.registerReceiver(null, IntentFilter(Intent.ACTION_BATTERY_CHANGED))
        val power = context.getSystemService(Context.POWER_SERVICE) as? PowerManager
        return Conditions(
            online = network?.hasCapability(NetworkCapabilities.NET_CAPABILITY_INTERNET) ?: false,
            charging = battery?.let { it.getIntExtra(BatteryManager.EXTRA_PLUGGED, 0) != 0 },
            batteryFine = battery?.let(::isFine),
            unmetered = network?.hasCapability(NetworkCapabilities.NET_CAPABILITY_NOT_METERED),
            idle = power?.let { !it.isInteractive },
            saving = power?.isPowerSaveMode,
        )
    }

    private fun network(): NetworkCapabilities? {
        val manager = context.getSystemService(Context.CONNECTIVITY_SERVICE) as? ConnectivityManager ?: return null
        return manager.getNetworkCapabilities(manager.activeNetwork)
    }

    /** As WorkManager's `requiresBatteryNotLow` has it: above 15 %. */
    private fun isFine(battery: Intent): Boolean? {
        val level = battery.getIntExtra(BatteryManager.EXTRA_LEVEL, -1)
        val scale = battery.getIntExtra(BatteryManager.EXTRA_SCALE, -1)
        if (level < 0 || scale <= 0) return null
        return level * 100 > scale * LOW_PERCENT
    }

    private companion object {
        const val LOW_PERCENT = 15
    }
}
