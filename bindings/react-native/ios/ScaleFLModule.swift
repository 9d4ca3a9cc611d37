import ExpoModulesCore
import Foundation
import ScaleFL

/// What JavaScript calls on iOS: ``Clients`` and ``RoundsInBackground``, with the app's own storage.
public final class ScaleFLModule: Module, @unchecked Sendable {
    private lazy var clients = Clients(
        open: { try Installation(named: $0).open() },
        onProgress: { [weak self] call, progress in
            self?.sendEvent("progress", ["call": call, "progress": progress])
        }
    )
    private var watching: (any NSObjectProtocol)?

    public func definition() -> ModuleDefinition {
        Name("ScaleFL")
        Events("progress", "status")

        OnCreate {
            // Made before any call: two threads at once could make two.
            _ = self.clients
            self.watching = NotificationCenter.default.addObserver(
                forName: RoundsInBackground.ended, object: nil, queue: nil
            ) { [weak self] _ in
                self?.sendEvent("status", [:])
            }
        }
        OnDestroy {
            if let watching = self.watching { NotificationCenter.default.removeObserver(watching) }
            self.clients.end()
        }
        // A suspended app that holds the lock of a file is ended by iOS.
        OnAppEntersBackground { self.clients.pause() }

        AsyncFunction("create") { (configuration: String) async -> Answer in
            await self.clients.create(configuration)
        }
        Function("announce") { () -> Int in self.clients.announce() }
        AsyncFunction("call") { (client: Int, call: Int, method: String, args: [String]) async -> Answer in
            await self.clients.call(client, call, method, args)
        }
        Function("stop") { (call: Int) -> Void in self.clients.stop(call) }

        AsyncFunction("enableBackground") { (configuration: String) async -> Answer in
            await answered {
                try RoundsInBackground.enable(configuration)
                return "null"
            }
        }
        AsyncFunction("resumeBackground") { (configuration: String) async -> Answer in
            await answered {
                try RoundsInBackground.resume(configuration)
                return "null"
            }
        }
        AsyncFunction("disableBackground") { () async -> Answer in
            await answered {
                RoundsInBackground.disable()
                return "null"
            }
        }
        AsyncFunction("backgroundEnabled") { () async -> Answer in
            await answered { String(RoundsInBackground.configuration != nil) }
        }
    }
}
