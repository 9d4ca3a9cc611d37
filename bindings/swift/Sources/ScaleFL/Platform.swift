import Foundation

/// What a client uses unless the app brings its own.
public enum Platform {
    /// On iOS the keychain, under the path of the installation's folder within the app's storage. On macOS and Linux `nil`:
    /// keys are files in the folder. A signed Mac app may use ``KeychainVault`` too; a program without a signature has no such
    /// keychain.
    public static func vault(for configuration: Configuration) -> (any SecretVault)? {
        #if canImport(Security) && !os(macOS)
        KeychainVault(service: "io.scalefl.sdk.\(name(ofFolder: configuration.folder))")
        #else
        nil
        #endif
    }

    /// The path of a folder without what changes when the app is updated or installed again: where the system has put the app.
    static func name(ofFolder folder: String) -> String {
        let url = URL(fileURLWithPath: folder).standardizedFileURL
        let home = URL(fileURLWithPath: NSHomeDirectory()).standardizedFileURL.path + "/"
        if url.path.hasPrefix(home) { return String(url.path.dropFirst(home.count)) }
        // A container that apps of one group share lies elsewhere, in a folder whose name is a UUID.
        return url.pathComponents.suffix(2).filter { UUID(uuidString: $0) == nil }.joined(separator: "/")
    }

    /// What the system says about network and power, on Apple platforms. On Linux `nil`: nothing is known.
    public static func conditions() -> (any ConditionSource)? {
        #if canImport(Network)
        DeviceConditions.shared
        #else
        nil
        #endif
    }
}
