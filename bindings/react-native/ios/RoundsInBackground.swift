import BackgroundTasks
import ExpoModulesCore
import Foundation
import ScaleFL

/// Rounds while no JavaScript runs.
enum RoundsInBackground {
    /// As the config plugin writes it into `Info.plist`.
    static let identifier = "io.scalefl.rounds"
    /// Posted at the end of every round in the background.
    static let ended = Notification.Name("io.scalefl.reactnative.ended")

    private static let key = "io.scalefl.reactnative.background"

    /// Whether `Info.plist` names the identifier. Written once, at the launch, before JavaScript runs.
    nonisolated(unsafe) private static var isRegistered = false

    /// JSON, whose `folder` is a name; `nil` while no rounds run. It holds no secret.
    static var configuration: String? { UserDefaults.standard.string(forKey: key) }

    static func enable(_ configuration: String) throws {
        // Checked here: a round in the background has nobody to tell.
        _ = try configurationFromJson(json: configuration)
        guard isRegistered else {
            throw ScaleError.Usage(
                code: "no_background_mode",
                sentence: "Info.plist does not name \(identifier): add @scale-fl/react-native to the plugins of app.json, "
                    + "and build the app again")
        }
        do {
            try BackgroundRounds.schedule(identifier)
        } catch {
            throw ScaleError.Usage(
                code: "no_background",
                sentence: "iOS does not schedule work in the background: \(error.localizedDescription). It never does in the "
                    + "simulator, nor while the person has it switched off in the settings")
        }
        UserDefaults.standard.set(configuration, forKey: key)
    }

    /// The same, if they are enabled for the installation of this name.
    static func resume(_ configuration: String) throws {
        guard let enabled = Self.configuration else { return }
        let (before, now) = try (configurationFromJson(json: enabled), configurationFromJson(json: configuration))
        if before.folder == now.folder { try enable(configuration) }
    }

    static func disable() {
        UserDefaults.standard.removeObject(forKey: key)
        BGTaskScheduler.shared.cancel(taskRequestWithIdentifier: identifier)
        // What runs is kept for the next `participate`. At its end, `tell` withdraws the request that it has made.
        BackgroundRounds.pause()
    }

    /// Before the app has finished launching.
    static func register() {
        isRegistered = BackgroundRounds.register(identifier, client: client, failed: { _ in tell() }, ended: { _ in tell() })
    }

    @Sendable private static func client() throws -> ScaleClient {
        guard let configuration else {
            throw ScaleError.Usage(code: "background_disabled", sentence: "rounds in the background were disabled")
        }
        let installation = try Installation(named: configurationFromJson(json: configuration))
        return try ScaleClient(installation.configuration, vault: installation.vault, conditions: Platform.conditions())
    }

    @Sendable private static func tell() {
        // A round that ends has scheduled the next one, also if they were disabled while it ran.
        if configuration == nil { disable() }
        NotificationCenter.default.post(name: ended, object: nil)
    }
}

/// Registers the rounds at the launch of the app, which iOS demands.
public final class ScaleFLAppDelegate: ExpoAppDelegateSubscriber {
    public func application(
        _ application: UIApplication,
        didFinishLaunchingWithOptions launchOptions: [UIApplication.LaunchOptionsKey: Any]? = nil
    ) -> Bool {
        RoundsInBackground.register()
        return true
    }
}
