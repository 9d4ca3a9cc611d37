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
    /// `nil` until the system has told the first: the monitor's own first path may say that there is no network.
    private var path: NWPath?
    private var power: (charging: Bool?, fine: Bool?) = (nil, nil)
    private var observers: [any NSObjectProtocol] = []

    private init() {
        monitor.pathUpdateHandler = { [weak self] path in
            guard let self else { return }
            self.lock.withLock { self.path = path }
        }
        monitor.start(queue: DispatchQueue(label: "io.scalefl.sdk.network"))
        #if os(iOS)
        Task { @MainActor in watchBattery() }
        #endif
    }

    public func current() throws -> Conditions {
        let (path, power) = lock.withLock { (self.path, self.power) }
        return Conditions(
            online: path.map { $0.status == .satisfied },
            charging: power.charging,
            batteryFine: power.fine,
            unmetered: path.map { !$0.isExpensive },
            idle: nil,
            saving: path?.isConstrained == true || ProcessInfo.processInfo.isLowPowerModeEnabled
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
