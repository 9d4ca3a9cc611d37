#if canImport(Network)
import Foundation
import Network
#if os(iOS)
import UIKit
#endif

/// What the system says about network and power. Whether the person uses the device, no app can know.
public final class DeviceConditions: ConditionSource, @unchecked Sendable {
    /// One for the process: watching the network costs a little.
    public static let shared = DeviceConditions()

    /// Below this the battery is low, as the system itself says it.
    private static let lowBattery: Float = 0.2

    private let monitor = NWPathMonitor()
    private let lock = NSLock()
    private var power: (charging: Bool?, fine: Bool?) = (nil, nil)
    private var observers: [any NSObjectProtocol] = []

    private init() {
        monitor.start(queue: DispatchQueue(label: "io.scalefl.sdk.network"))
        #if os(iOS)
        Task { @MainActor in watchBattery() }
        #endif
    }

    public func current() throws -> Conditions {
        let path = monitor.currentPath
        let power = lock.withLock { self.power }
        return Conditions(
            online: path.status == .satisfied,
            charging: power.charging,
            batteryFine: power.fine,
            unmetered: !path.isExpensive,
            idle: nil,
            saving: path.isConstrained || ProcessInfo.processInfo.isLowPowerModeEnabled
        )
    }

    #if os(iOS)
    /// The battery may be asked on the main thread only: what it says is kept.
    @MainActor private func watchBattery() {
        UIDevice.current.isBatteryMonitoringEnabled = true
        let read: @Sendable (Notification) -> Void = { [weak self] _ in
            MainActor.assumeIsolated { self?.readBattery() }
        }
        let names = [UIDevice.batteryStateDidChangeNotification, UIDevice.batteryLevelDidChangeNotification]
        let observers = names.map { NotificationCenter.default.addObserver(forName: $0, object: nil, queue: .main, using: read) }
        lock.withLock { self.observers = observers }
        readBattery()
    }

    @MainActor private func readBattery() {
        let device = UIDevice.current
        let charging: Bool? =
            switch device.batteryState {
            case .charging, .full: true
            case .unplugged: false
            default: nil
            }
        // A negative level is an unknown one.
        let fine = device.batteryLevel < 0 ? nil : device.batteryLevel > Self.lowBattery
        lock.withLock { power = (charging, fine) }
    }
    #endif
}
#endif
