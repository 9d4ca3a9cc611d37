// A stub: see README.md.

import Foundation

@MainActor open class UIDevice {
    public enum BatteryState: Int, Sendable { case unknown, unplugged, charging, full }

    public static var current: UIDevice { UIDevice() }
    public nonisolated static let batteryStateDidChangeNotification = Notification.Name("state")
    public nonisolated static let batteryLevelDidChangeNotification = Notification.Name("level")

    public var isBatteryMonitoringEnabled = false
    public var batteryState: BatteryState { .unknown }
    public var batteryLevel: Float { -1 }
}
